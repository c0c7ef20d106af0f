"""The summary at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.config import RunConfig
from agents.context import RunContext
from agents.families.lifecycle import move
from agents.sandbox import Fault, Score
from agents.task_force.report import summarise_run
from evolution.genome.genome import Genome
from memory.records import ArchiveEntry, Expert
from memory.store import RunStore
from tests.agents.cases import ScriptedBroker, ScriptedSandbox, family, run_context

SKILLS = {"seed": "1000", "bred": "0110", "out": "0001"}
OPERATORS = {"seed": "seed", "bred": "linear", "out": "linear"}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    """Everybody is graded on everything, so nothing is left to ask."""
    with RunStore.open(tmp_path) as store:
        for number in range(4):
            store.put_family(family(number))
        for birth, (name, passes) in enumerate(SKILLS.items()):
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(id=name, genome_id=name, generation=0, birth=birth, operator=OPERATORS[name])
            )
            for number, passed in enumerate(passes):
                store.set_skill(name, f"f{number}", passed == "1")
        entries = [
            ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
            for rank, name in enumerate(("bred", "seed"))
        ]
        store.put_archive(0, entries)
        yield run_context(store, RunConfig(generations=0))


async def test_coverage_of_archive_seeds_and_forces(run: RunContext) -> None:
    await summarise_run(run)
    summary: Any = run.store.meta("summary")
    coverage = summary["coverage"]
    assert (coverage["archive"], coverage["seeds"]) == (0.75, 0.25)
    assert [(row["n"], row["coverage"]) for row in coverage["task_force"]] == [(1, 0.5), (2, 0.75)]
    assert coverage["task_force"][0]["experts"] == ["bred"], "who covers most comes first"
    assert coverage["seed_force"] == [{"n": 1, "coverage": 0.25, "experts": ["seed"]}]
    assert run.store.meta("finished")


async def test_the_example_is_one_that_no_seed_solves(run: RunContext) -> None:
    await summarise_run(run)
    summary: Any = run.store.meta("summary")
    example = summary["example"]
    assert example["solved_by_seeds"] == []
    assert "bred" in example["solved_by"]


async def test_a_family_whose_scorer_broke_counts_for_nobody(run: RunContext) -> None:
    move(run.store, run.store.family("f3"), "condemned", detail="crash: KeyError")
    await summarise_run(run)
    summary: Any = run.store.meta("summary")
    assert summary["families"] == 3
    assert summary["coverage"]["archive"] == 1.0


async def test_a_scorer_that_breaks_in_the_report_counts_for_nobody(run: RunContext) -> None:
    """A family that is retired already: the pool is none the wiser, the history must be."""
    broken = run.store.family("f3")
    move(run.store, broken, "least_discriminating", rate=0.25)
    late = Expert(id="late", genome_id="bred", generation=1, birth=0, operator="linear")
    run.store.put_expert(late)
    for name in ("f0", "f1", "f2"):
        run.store.set_skill("late", name, False)
    genome = Genome(np.zeros((1, 1), np.float32))
    broker = ScriptedBroker()

    async def opened() -> ScriptedBroker:
        return broker

    population: Any = SimpleNamespace(broker=opened, decode=lambda *_: genome)
    sandbox: Any = ScriptedSandbox({"yes": Score(None, Fault("crash", "KeyError"))})
    await summarise_run(replace(run, population=population, sandbox=sandbox))
    summary: Any = run.store.meta("summary")
    assert summary["families"] == 3
    assert summary["coverage"]["archive"] == 1.0


async def test_a_run_that_goes_on_and_ends_at_the_same_generation_is_finished_again(
    run: RunContext,
) -> None:
    """It was extended, stopped on the way, and asked to end where it had ended before."""
    await summarise_run(run)
    run.store.put_meta("finished", False)
    run.store.put_family(family(4))
    for name in SKILLS:
        run.store.set_skill(name, "f4", True)
    await summarise_run(run)
    summary: Any = run.store.meta("summary")
    assert run.store.meta("finished")
    assert summary["families"] == 5
