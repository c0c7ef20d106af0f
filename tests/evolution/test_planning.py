from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evolution.errors import BankError
from evolution.planning import Machine, Plan, Sizes, measure_sizes, plan_memory
from evolution.settings import EngineSettings, SpectralSettings

from .conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

GIB = 2**30
SEVEN_BILLION = Sizes(
    weights=15 * GIB, bank=60 * GIB, key_values=57_344, vocabulary=152_064, width=71_000, item=2
)


def planned(memory: float, gpu: float | None, engine: EngineSettings | None = None) -> Plan:
    machine = Machine(int(memory * GIB), None if gpu is None else int(gpu * GIB))
    return plan_memory(
        SEVEN_BILLION, engine or EngineSettings(), machine, tokens=2048, sandbox=2 * GIB
    )


def test_the_bank_lies_on_the_gpu_where_it_fits_and_else_is_streamed() -> None:
    large, small = planned(128, 141), planned(128, 80)
    assert (large.bank, large.verdict) == ("device", "fits")
    assert large.needed("memory") == 2 * GIB
    assert (small.bank, small.verdict) == ("pinned", "fits")
    assert small.needed("memory") == 62 * GIB
    assert "streamed" in small.advice
    assert planned(128, None).bank == "host"


def test_what_does_not_fit_is_said_with_what_to_change() -> None:
    plan = planned(32, None)
    assert plan.verdict == "too large"
    assert "32.0 GiB free" in plan.advice
    assert "fewer full seeds" in plan.advice
    rows = planned(256, 141, EngineSettings(rows=4096))
    assert rows.verdict == "too large"
    assert "lower engine.rows" in rows.advice


def test_little_to_spare_is_tight() -> None:
    needed = planned(1000, None).needed("memory") / GIB
    assert planned(needed * 1.02, None).verdict == "tight"
    assert planned(needed * 1.2, None).verdict == "fits"


def test_fewer_rows_need_less() -> None:
    few = planned(1000, None, EngineSettings(rows=8)).needed("memory")
    assert few < planned(1000, None, EngineSettings(rows=64)).needed("memory")


def test_an_adapter_weighs_its_factors(
    tiny_family: TinyFamily, adapter: Path, tmp_path: Path
) -> None:
    rank = SpectralSettings(rank=0)
    without = measure_sizes(models_of(tiny_family), rank, tmp_path)
    with_it = measure_sizes(models_of(tiny_family, adapter), rank, tmp_path)
    factors = 2 * 4 * sum(4 * (rows + columns) for rows, columns in [(64, 64), (32, 64), (64, 128)])
    assert with_it.bank - without.bank == factors
    (adapter_copy := tmp_path / "delta").mkdir()
    (adapter_copy / "adapter_config.json").write_text("{}")
    with pytest.raises(BankError, match="missing or damaged"):
        measure_sizes(models_of(tiny_family, adapter_copy), rank, tmp_path)
