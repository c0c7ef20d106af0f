"""The table of `acdc status`, and hints where a force is smaller than asked for."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from console.commands.ask import fewer_than
from console.commands.status import show


def row(expert: str, fitness: float, novelty: float | None) -> dict[str, Any]:
    parts = {"operator": "seed", "parents": [], "generation": 0}
    return {"expert": expert, "fitness": fitness, "novelty": novelty, **parts}


@pytest.mark.parametrize("on", ["pool", "history"])
def test_the_fittest_come_first_and_coverage_says_on_what(
    on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    coverage = {"archive": 0.5, "seeds": 0.25, "on": on}
    pool = {"active": 2, "held": 0, "history": 3, "generators": 1, "revised": 0, "rejected": {}}
    status = {
        "run": "r",
        "finished": on == "history",
        "generation": 1,
        "generations": 2,
        "archive": [row("kept", 0.3, 12.0), row("best", 0.9, None), row("twin", 0.9, 0.0)],
        "pool": pool,
        "coverage": {**coverage, "task_force": [{"n": 1, "coverage": 0.5, "experts": ["best"]}]},
        "ratings": {"answers": 0},
        "calls": {},
        "seconds": {},
    }
    show(status, Console(width=100))
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith(("kept", "best", "twin"))]
    assert names == ["best", "twin", "kept"]
    assert any(line.startswith("best") and "undominated" in line for line in lines)
    assert any(f"Coverage on the {on} (" in line for line in lines)


def test_a_force_smaller_than_asked_for_is_told() -> None:
    assert fewer_than(8, 8) is None
    assert fewer_than(100, 8) == "8 experts answer, not 100: the run has no more that are graded"
