"""The headline comparison: what may be asked, and what is made of the answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.evaluation.rows import Row, RunRows
from benchmarks.headline_tables import goals, left_out, reached, tables
from benchmarks.headline_tasks import apart, asked_texts, fresh_tasks, line
from console.commands.measured import report
from console.run.folder import RunFolder
from memory.records import Assignment, Draft, TrialAnswer
from memory.store import RunStore
from tests.agents.cases import family

SMALL = line("count_bits", 1, 8, 70_001)


def test_what_a_method_was_picked_by_is_asked_no_more(tmp_path: Path) -> None:
    first = fresh_tasks([SMALL], "", tmp_path)
    pick = tmp_path / "pick.jsonl"
    pick.write_text("".join(json.dumps(task.model_dump(mode="json")) + "\n" for task in first[:3]))
    known = asked_texts([], [tmp_path / "missing.jsonl", pick], tmp_path)
    left = {task.instructions for task in fresh_tasks([SMALL], known, tmp_path)}
    assert len(left) == 8, "others are drawn in their place"
    assert not left & {task.instructions for task in first[:3]}


def test_what_the_panel_of_a_trial_was_asked_is_no_fresh_task(tmp_path: Path) -> None:
    asked = fresh_tasks([SMALL], "", tmp_path)[0].instructions
    folder = RunFolder(tmp_path / "run")
    answer = TrialAnswer(
        expert="numbers", instance="1", question=asked, text="", extracted="", passed=False
    )
    with RunStore.open(folder.path) as store:
        store.put_assignment(
            Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=1)
        )
        store.put_draft(Draft(assignment="g0-a00", round=0, proposal=None, answers=(answer,)))
    known = asked_texts([folder], [], tmp_path)
    assert asked not in {task.instructions for task in fresh_tasks([SMALL], known, tmp_path)}


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
    by_name = {goal["name"]: goal for goal in goals("near", report(runs, None), runs)}
    ahead = by_name["near: best_expert - best_seed at N = 1"]
    assert ahead["value"] == pytest.approx(1.5 / 12, abs=1e-4)
    share = by_name["near: skill_routing at N = 3, of the gap up to Coverage"]
    assert (share["value"], share["by_run"]) == (0.5, [0.25, 0.75])
    low, high = share["interval"]
    assert low < 0.5 < high
    assert not share["met"]
    good = [a_run(1, 9, 0), a_run(2, 9, 1)]
    assert goals("near", report(good, None), good)[-1]["met"], "nearly all of the gap, in both"


def near_run(seed: int, best: int, merge: int | None = None) -> RunRows:
    """Twelve tasks of four generators: of each, the best seed solves 1, seeds and force as told."""
    tasks = [f"t{i}" for i in range(12)]

    def row(name: str, n: int, right: int) -> tuple[Any, Row]:
        solved = {task: place < right for place, task in enumerate(tasks)}
        chosen = {} if n == 1 else {"skill_routing": solved}
        return (name, n), Row(name, n, solved, chosen, (), "greedy", 0, 0, 0.0, 0)

    rows = [row("best_expert", 1, best), row("best_seed", 1, 4)]
    for n, force, experts in ((1, best, 4), (3, 8, 8), (8, 9, 8)):
        rows += [row("force", n, force), row("experts", n, experts)]
        rows += [] if merge is None else [row("merge_once", n, merge)]
    clusters = {task: f"g{place % 4}" for place, task in enumerate(tasks)}
    why = {} if merge is not None else {"merge_once": "its seeds could not be merged (too few)"}
    return RunRows(f"seed-{seed}", seed, clusters, dict(rows), why)


def test_the_goals_of_seen_generators_are_ratio_and_means_against_the_seeds() -> None:
    runs = [near_run(1, 8, 6), near_run(2, 8, 7)]
    by_name = {goal["name"]: goal for goal in goals("near", report(runs, None), runs)}
    ratio = by_name["near: best_expert / best_seed at N = 1"]
    assert (ratio["value"], ratio["by_run"], ratio["met"]) == (2.0, [2.0, 2.0], True)
    means = {n: by_name[f"near: force - experts at N = {n}, mean"] for n in (1, 3, 8)}
    assert [means[n]["met"] for n in (1, 3, 8)] == [True, False, True]
    assert by_name["near: best_expert - merge_once at N = 1"]["value"] == pytest.approx(0.125)
    assert not any("/ best_seed" in goal["name"] for goal in _unseen(runs))
    little = [near_run(1, 6, 6)]
    [ratio] = [g for g in goals("near", report(little, None), little) if "/ best_seed" in g["name"]]
    assert (ratio["value"], ratio["met"]) == (1.5, False)


def _unseen(runs: list[RunRows]) -> list[dict[str, Any]]:
    return goals("far", report(runs, None), runs)


def test_where_a_run_has_no_merge_the_tables_say_so_and_the_rest_stands() -> None:
    runs = [near_run(1, 8, 6), near_run(2, 8)]
    found = report(runs, None)
    assert "merge_once" not in {row["name"] for row in found["rows"]}
    assert "merge_once" in {row["name"] for row in found["runs"][0]["rows"]}
    rows = [{"set": "near", **row} for row in found["rows"]]
    assert reached(rows) == (
        "Coverage reached: force 0.667 / 0.667 / 0.750 at N = 1, 3, 8; "
        "experts 0.333 / 0.667 / 0.667 at N = 1, 3, 8."
    )
    why = "No row merge_once; missing in run seed 2: its seeds could not be merged (too few)."
    assert left_out(found["runs"]) == ["", why]
    both = "No row merge_once; missing in run seed 2, 2: its seeds could not be merged (too few)."
    assert left_out(found["runs"] + found["runs"][1:]) == ["", both]
    said = tables(
        {
            "run_seeds": [1, 2],
            "machine": {"processor": "x", "cores": 2},
            "tasks": {"near": [12, 4]},
            "rows": rows,
            "runs": {"near": found["runs"]},
            "guessed": {
                "near": {"generators": [{"generator": "flip", "answer": "0", "chance": 0.75}]}
            },
            "differences": [{"set": "near", **each} for each in found["differences"]],
            "goals": goals("near", found, runs),
        }
    )
    assert why in said
    assert "Guessing passes most tasks of flip ('0' passes 0.75)." in said
    assert any(line.startswith("| near: best_expert / best_seed at N = 1") for line in said)


def test_runs_that_drew_their_answers_in_different_ways_are_counted() -> None:
    runs = [a_run(1, 4, 0), a_run(2, 8, 1), a_run(3, 8, 1)]
    place = ("best_seed", 1)
    runs[1].rows[place] = replace(runs[1].rows[place], sampling="T = 0.7")  # type: ignore[index]
    found = {row["name"]: row["sampling"] for row in report(runs, None)["rows"]}
    assert (found["best_seed"], found["best_expert"]) == ("greedy (2); T = 0.7 (1)", "greedy")


def test_of_a_seed_that_solves_nothing_no_multiple_is_told() -> None:
    runs = [a_run(1, 4, 0)]
    assert not [g for g in goals("near", report(runs, None), runs) if "/ best_seed" in g["name"]]


def test_where_there_is_no_gap_nothing_is_recovered() -> None:
    run = a_run(1, 4, 0)
    force = run.rows["force", 3]
    flat = {task: place < 2 for place, task in enumerate(run.clusters)}
    row = Row("force", 3, flat, {"skill_routing": flat}, (), "greedy", 0, 0, 0.0, 0)
    runs = [RunRows(run.run, 1, run.clusters, {**run.rows, force.place: row})]
    [share] = [g for g in goals("near", report(runs, None), runs) if "skill_routing" in g["name"]]
    assert (share["value"], share["interval"], share["met"]) == (0.0, None, False)


def test_unseen_generators_are_of_a_category_that_some_run_has_asked_or_far(
    tmp_path: Path,
) -> None:
    with RunStore.open(tmp_path) as store:
        store.put_family(family(1).model_copy(update={"generator": "gcd"}))
    lines = [line(name, 1, 2, 7) for name in ("lcm", "chain_sum", "sudoku")]
    found = apart([RunFolder(tmp_path)], lines)
    names = {group: [each["reasoning_gym"] for each in of] for group, of in found.items()}
    assert names == {"same category": ["lcm", "chain_sum"], "far": ["sudoku"]}
