"""The headline comparison: what may be asked, and what is made of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.evaluation.rows import Row, RunRows
from benchmarks.headline_tables import goals
from benchmarks.headline_tasks import asked_texts, fresh_tasks, line
from console.commands.evaluate import report

SMALL = line("count_bits", 1, 8, 70_001)


def test_what_a_method_was_picked_by_is_asked_no_more(tmp_path: Path) -> None:
    first = fresh_tasks([SMALL], "")
    pick = tmp_path / "pick.jsonl"
    pick.write_text("".join(json.dumps(task.model_dump(mode="json")) + "\n" for task in first[:3]))
    known = asked_texts([], [tmp_path / "missing.jsonl", pick])
    left = {task.instructions for task in fresh_tasks([SMALL], known)}
    assert len(left) == 8, "others are drawn in their place"
    assert not left & {task.instructions for task in first[:3]}


def a_run(seed: int, chosen: int, baseline: int) -> RunRows:
    """Twelve tasks: best expert 2, force of 3 Coverage 10 and `chosen` by a method."""
    tasks = [f"t{i}" for i in range(12)]

    def row(name: str, n: int, right: int, voted: int | None = None) -> tuple[Any, Row]:
        solved = {task: place < right for place, task in enumerate(tasks)}
        by = {} if voted is None else {"skill_routing": {t: solved[t] for t in tasks[:voted]}}
        by = {method: dict.fromkeys(tasks, False) | picked for method, picked in by.items()}
        return (name, n), Row(name, n, solved, by, (), "greedy", 0, 0, 0.0, 0)

    rows = [row("best_expert", 1, 2), row("best_seed", 1, baseline), row("force", 3, 10, chosen)]
    clusters = {task: f"g{place % 4}" for place, task in enumerate(tasks)}
    return RunRows(f"seed-{seed}", seed, clusters, dict(rows))


def test_goals_tell_every_run_and_how_sure_they_are() -> None:
    runs = [a_run(1, 4, 0), a_run(2, 8, 1)]
    by_name = {goal["name"]: goal for goal in goals("seen", report(runs, None), runs)}
    ahead = by_name["seen: best_expert - best_seed at N = 1"]
    assert ahead["value"] == pytest.approx(1.5 / 12, abs=1e-4)
    share = by_name["seen: skill_routing at N = 3, of the gap up to Coverage"]
    assert (share["value"], share["by_run"]) == (0.5, [0.25, 0.75])
    low, high = share["interval"]
    assert low < 0.5 < high
    assert share["met"]


def test_where_there_is_no_gap_nothing_is_recovered() -> None:
    run = a_run(1, 4, 0)
    force = run.rows["force", 3]
    flat = {task: place < 2 for place, task in enumerate(run.clusters)}
    row = Row("force", 3, flat, {"skill_routing": flat}, (), "greedy", 0, 0, 0.0, 0)
    runs = [RunRows(run.run, 1, run.clusters, {**run.rows, force.place: row})]
    [share] = [g for g in goals("seen", report(runs, None), runs) if "skill_routing" in g["name"]]
    assert (share["value"], share["interval"], share["met"]) == (0.0, None, False)
