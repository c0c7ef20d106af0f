"""Whatever transformers can write computes as there, or is refused by name: no third outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evolution.engines.contract_cases import outcome
from tests.evolution.engines.contract_grid import CASES, REFUSED


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_transformers_does_or_is_refused_by_name(name: str, tmp_path: Path) -> None:
    found = outcome(CASES[name], tmp_path)
    if name in REFUSED:
        assert REFUSED[name] in found
        assert "\n" not in found
    else:
        assert found == "read"


def test_only_cases_of_the_grid_are_expected_to_be_refused() -> None:
    assert set(REFUSED) <= set(CASES)
    read, refused = len(CASES) - len(REFUSED), len(REFUSED)
    print(f"{len(CASES)} checkpoints of transformers: {read} read, {refused} refused")
