"""Chance of a generator, and Coverage in excess of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agents.errors import SandboxError
from agents.evaluation.chance import NO_GENERATOR, guesses
from agents.evaluation.rows import Row, RunRows, headline, intervals
from agents.evaluation.tasks import GymDataset, Task
from agents.sandbox import Sandbox, Score, Submission, open_sandbox
from agents.settings import SandboxSettings
from memory.store import RunStore
from tests.conftest import anything

TRIVIAL = ("yes", "no", "0")


def tasks_of(generator: str, answers: Sequence[str]) -> list[Task]:
    return [
        Task(id=f"{generator}{place}", instructions="?", answer=answer, generator=generator)
        for place, answer in enumerate(answers)
    ]


class NoSandbox:
    """Fails where a scorer has to run."""

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        raise SandboxError("no guests")

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        raise SandboxError("no guests")


@pytest.fixture
def book(tmp_path: Path) -> RunStore:
    return RunStore.open(tmp_path / "book")


@pytest.mark.parametrize(
    ("answers", "chance"),
    [
        (["yes"] * 8, 1.0),
        (["Yes.", "no", "yes", "yes"] * 4, 0.75),
        (["a", "b", "c", "d", "e", "f"], 0.0),
        (["7"], 0.0),
        (["red", "red", "blue", "green"] * 8, 0.5),
    ],
)
async def test_the_best_constant_of_one_half_is_counted_on_the_other(
    book: RunStore, answers: list[str], chance: float
) -> None:
    found = await guesses(NoSandbox(), book, tasks_of("g", answers), TRIVIAL)
    [guess] = set(found.values())
    assert guess.chance == pytest.approx(chance, abs=0.15)
    assert guess.passes_most == (chance > 0.5)


async def test_tasks_without_a_generator_are_guessed_together(book: RunStore) -> None:
    alone = [Task(id=str(n), instructions="?", answer="A" if n % 4 else "B") for n in range(16)]
    found = await guesses(NoSandbox(), book, [*alone, *tasks_of("g", ["1", "2"])], TRIVIAL)
    assert found["0"].generator == NO_GENERATOR
    assert found["0"].chance == pytest.approx(0.75, abs=0.1)
    assert found["g0"].chance == 0.0


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(guests=1, seconds=20), ours=anything)
    yield opened
    await opened.close()


async def test_a_datasets_scorer_says_what_a_constant_passes_and_it_is_kept(
    sandbox: Sandbox, book: RunStore
) -> None:
    coins = GymDataset(reasoning_gym="coin_flip", size=6, seed=3).tasks()
    sums = GymDataset(reasoning_gym="chain_sum", size=6, seed=3).tasks()
    found = await guesses(sandbox, book, [*coins, *sums], TRIVIAL)
    assert found[coins[0].id].passes_most, "its scorer takes 0 for any probability"
    assert found[sums[0].id].chance == 0.0
    assert await guesses(NoSandbox(), book, [*coins, *sums], TRIVIAL) == found
    with pytest.raises(SandboxError):
        await guesses(NoSandbox(), book, coins[:5], TRIVIAL)


async def test_corrected_coverage_is_that_of_each_generator_in_excess_of_chance(
    book: RunStore,
) -> None:
    half = tasks_of("half", ["red", "red", "blue", "green"] * 2)
    open_ones = tasks_of("open", ["1", "2", "3", "4"])
    found = await guesses(NoSandbox(), book, [*half, *open_ones], TRIVIAL)
    solved = {task.id: task.answer in ("red", "blue", "1") for task in [*half, *open_ones]}
    row = Row("force", 1, solved, {}, ("x",), "greedy", 0, 0, 0.0, 0)
    clusters = {task.id: task.generator for task in [*half, *open_ones]}
    run = RunRows("r", 1, clusters, {row.place: row}, guesses=found)
    column = (row.place, "corrected")
    chance = found["half0"].chance
    assert 0.2 < chance < 0.5
    in_excess = (0.75 - chance) / (1 - chance) * 8 + 0.25 * 4
    assert intervals([run], [column])[column].mean == pytest.approx(in_excess / 12)


async def test_what_guessing_passes_is_left_out_of_the_headline(book: RunStore) -> None:
    tasks = [*tasks_of("said", ["yes"] * 4), *tasks_of("open", ["1", "2", "3", "4"])]
    found = await guesses(NoSandbox(), book, tasks, TRIVIAL)
    clusters = {task.id: task.generator for task in tasks}
    run = RunRows("r", 1, clusters, guesses=found)
    assert set(headline([run])[0].clusters.values()) == {"open"}
    only = run.of_tasks([task.id for task in tasks[:4]])
    assert headline([only]) == [only], "nothing else is left"
