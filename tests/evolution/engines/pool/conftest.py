"""What real workers hold, and what they must answer."""

from __future__ import annotations

import pytest
import pytest_asyncio

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of
from tests.evolution.engines.pool.pool_cases import expected


@pytest.fixture(scope="module")
def bank(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    cache = tmp_path_factory.mktemp("cache")
    return load_bank(models_of(tiny_family), SpectralSettings(rank=4), cache)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def said(bank: Bank) -> list[list[str]]:
    return await expected(bank)
