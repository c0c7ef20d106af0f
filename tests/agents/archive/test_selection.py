"""Selection: who stays in the archive, and what a pool over its capacity loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agents.archive.selection import select
from agents.config import RunConfig
from agents.context import RunContext
from agents.progress import ProgressEvent
from agents.settings import PoolSettings, PopulationSettings
from evolution.selection.settings import SelectionSettings
from memory.records import Expert, LevelRate, Skill
from memory.store import RunStore
from tests.agents.cases import family, run_context

SKILLS = {
    "seed": "1100",
    "twin": "1100",
    "other": "0011",
    "weak": "1000",
}
"""Expert -> passes on the families f0, f1, ...; the first two are alike."""


@pytest.fixture
def reported() -> list[ProgressEvent]:
    return []


@pytest.fixture
def run(tmp_path: Path, reported: list[ProgressEvent]) -> Iterator[RunContext]:
    with RunStore.open(tmp_path) as store:
        for number in range(4):
            store.put_family(family(number))
        born(store, 0, SKILLS)
        config = RunConfig(
            population=PopulationSettings(capacity=3),
            pool=PoolSettings(capacity=4),
            selection=SelectionSettings(gibberish_filter=False),
        )
        yield run_context(store, config, progress=reported.append)


def born(store: RunStore, generation: int, skills: Mapping[str, str]) -> None:
    for birth, (name, passes) in enumerate(skills.items()):
        store.put_genome(name, name.encode())
        store.put_expert(
            Expert(
                id=name,
                genome_id=name,
                generation=generation,
                birth=birth,
                operator="linear" if generation else "seed",
            )
        )
        for number, passed in enumerate(passes):
            store.set_skill(name, f"f{number}", passed == "1")


async def test_of_two_that_are_alike_the_older_competes(run: RunContext) -> None:
    """Of the equally fit, the one whom fewer others can replace comes first."""
    await select(run, 0)
    assert [entry.expert for entry in run.store.archive(0)] == ["other", "seed", "weak"]


async def test_of_generative_families_counts_are_ranked_beyond_chance(
    tmp_path: Path, reported: list[ProgressEvent]
) -> None:
    """Two experts with one verdict each way: three of four is more, and half is guessing."""
    with RunStore.open(tmp_path) as store:
        curve = (LevelRate(level=1, asked=8, passed=4, chance=0.5),)
        store.put_family(family(0).model_copy(update={"seed": 1, "curve": curve}))
        store.put_family(family(1))
        born(store, 0, {"good": "10", "better": "10", "guesses": "10"})
        for name, passes in (("good", 5), ("better", 6), ("guesses", 1)):
            store.set_skill(name, "f0", Skill(passes=passes, asked=8))
        config = RunConfig(selection=SelectionSettings(gibberish_filter=False))
        await select(run_context(store, config, progress=reported.append), 0)
        fitness = {entry.expert: entry.fitness for entry in store.archive(0)}
    assert fitness["better"] > fitness["good"] >= fitness["guesses"] == 0


async def test_a_child_that_adds_something_takes_the_place_of_one_that_does_not(
    run: RunContext, reported: list[ProgressEvent]
) -> None:
    await select(run, 0)
    born(run.store, 1, {"child": "1011"})
    await select(run, 1)
    kept = [entry.expert for entry in run.store.archive(1)]
    assert kept[0] == "child", "nobody dominates the fittest"
    assert "weak" not in kept
    [_, pulse] = [event for event in reported if event.kind == "pulse"]
    assert "best child 0.75" in pulse.text
    assert "1 bred" in pulse.text


@pytest.mark.parametrize(
    ("asked", "told"), [(1, "generation 1/1: "), (0, "generation 1 (0 were asked for): ")]
)
async def test_a_generation_beyond_those_asked_for_is_told_as_such(
    run: RunContext, reported: list[ProgressEvent], asked: int, told: str
) -> None:
    """A run may be stopped in the middle of one, and then be asked for fewer."""
    await select(run, 0)
    born(run.store, 1, {"child": "1011"})
    run.config = run.config.model_copy(update={"generations": asked})
    await select(run, 1)
    pulse = reported[-1]
    assert pulse.text.startswith(told)
    assert pulse.done <= pulse.total


async def test_selection_is_decided_once(run: RunContext) -> None:
    await select(run, 0)
    before = run.store.archive(0)
    run.store.set_skill("weak", "f3", True)
    await select(run, 0)
    assert run.store.archive(0) == before


async def test_a_pool_over_capacity_loses_what_tells_experts_apart_the_least(
    run: RunContext,
) -> None:
    run.store.put_family(family(4))
    for name in SKILLS:
        run.store.set_skill(name, "f4", True)
    await select(run, 0)
    assert {f.id for f in run.store.families("active")} == {"f0", "f1", "f2", "f3"}
    assert run.store.family_status("f4") == "retired"
