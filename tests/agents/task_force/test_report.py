"""The summary at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.context import RunContext
from agents.task_force.field import force_in, resampled_seeds, standing_of
from agents.task_force.report import summarise_run
from memory.records import FINALS, GibberishFound, Voice
from tests.agents.cases import generative
from tests.agents.task_force.players import before_finals


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    with before_finals(tmp_path) as context:
        yield context


async def summary_of(run: RunContext) -> Any:
    await summarise_run(run)
    assert run.store.meta("finished")
    return run.store.meta("summary")


async def test_coverage_of_archive_seeds_and_forces(run: RunContext) -> None:
    """The seed knows f0 and half of f1 and f2, the merge f0 and f3, bred f1 and f2."""
    summary = await summary_of(run)
    coverage = summary["coverage"]
    assert (coverage["archive"], coverage["seeds"]) == (1.0, 0.25)
    rows = coverage["task_force"]
    assert [(row["n"], row["coverage"]) for row in rows] == [(1, 0.5), (2, 1.0), (3, 1.0)]
    assert set(rows[1]["experts"]) == {"merge", "bred"}
    assert rows[1]["temperatures"] == [0.0, 0.0]
    assert (summary["families"], summary["instances"], summary["fresh"]) == (4, 8, 6)


async def test_forces_stand_beside_as_many_answers_of_the_seeds(run: RunContext) -> None:
    coverage = (await summary_of(run))["coverage"]
    baseline = coverage["experts"]
    assert [row["n"] for row in baseline] == [1, 2, 3]
    assert [row["experts"] for row in baseline] == [["seed"], ["seed"] * 2, ["seed"] * 3]
    assert baseline[2]["temperatures"] == [0.0, 0.7, 0.7]
    assert [row["coverage"] for row in baseline] == [0.25, 0.5, 0.625]
    for row, theirs in zip(coverage["task_force"], baseline, strict=True):
        assert row["coverage"] >= theirs["coverage"]


async def test_the_force_that_answers_is_the_one_of_the_summary(run: RunContext) -> None:
    summary = await summary_of(run)
    for row in summary["coverage"]["task_force"]:
        force = force_in(run.store, row["n"])
        assert [voice.expert for voice in force.voices] == row["experts"]
        assert force.coverage == row["coverage"]
        alone = force_in(run.store, row["n"], alone=True)
        assert len(set(alone.voices)) == row["n"]
    assert resampled_seeds(run.store) == ["seed"], "without the base"
    assert standing_of(run.store).fitness(Voice("seed", 0.7)) == pytest.approx((1 + 0.5 + 0.5) / 4)


async def test_the_example_is_an_instance_of_the_finals_that_seeds_solve_least(
    run: RunContext,
) -> None:
    example = (await summary_of(run))["example"]
    assert example["solved_by_seeds"] == []
    assert example["solved_by"] == ["merge", "merge at 0.7"]
    assert example["family"] == "f3"
    said = {answer["expert"]: answer for answer in example["answers"]}
    assert said["merge"]["passed"]
    assert not said["bred"]["passed"]
    assert example["question"] in {"first of family 3", "second of family 3"}


async def test_a_voice_that_stands_twice_says_two_things(tmp_path: Path) -> None:
    """Without bred experts and merge the best force is the seed, asked again and again."""
    with before_finals(tmp_path, {"finals": {"experts": 0}}) as run:
        run.store.add_event(GibberishFound(expert="merge", reason="one token, repeated"))
        summary = await summary_of(run)
        last = summary["coverage"]["task_force"][-1]
        assert (last["experts"], last["temperatures"]) == (["seed"] * 3, [0.7] * 3)
        answers = summary["example"]["answers"]
        assert [answer["temperature"] for answer in answers] == [0.7, 0.7], "it was asked twice"
        assert {answer["passed"] for answer in answers} == {True, False}
        assert summary["example"]["solved_by_seeds"] == ["seed at 0.7"]


async def test_a_run_that_goes_on_and_ends_at_the_same_generation_is_finished_again(
    run: RunContext,
) -> None:
    """It was extended, stopped on the way, and asked to end where it had ended before."""
    await summary_of(run)
    run.store.put_meta("finished", False)
    run.store.put_family(generative(4))
    summary = await summary_of(run)
    assert summary["families"] == 5
    assert len(run.store.instances("f4", FINALS)) == run.config.finals.instances
