"""The scorers of all datasets of reasoning-gym, given what a small model may answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from agents.evaluation.scoring import TaskScorer
from agents.evaluation.tasks import GymScore, Task, read_tasks
from agents.sandbox import Sandbox, Submission, open_sandbox
from agents.settings import SandboxSettings
from tests.conftest import anything

BARE = {"composite"}
"""Datasets that cannot be drawn without a configuration."""
WITHOUT_REFERENCE = {
    "boxnet": None,
    "graph_color": "possible_answer",
    "propositional_logic": "example_answer",
    "rubiks_cube": "example_correct_answer",
    "rush_hour": None,
}
"""Datasets whose tasks have many right answers, and where a task's metadata names one."""
TAKES_ANYTHING = {"game_of_life_halting"}
"""Whose scorer takes whatever is not "True" for "False"."""
MALFORMED = ("", "x", "[", "1/0", "{}", "-1", "2 x 433", "12:61", "9 " * 3000, "é ☃ \U0001f600")


def drawn(folder: Path, *names: str, size: int = 1) -> list[Task]:
    lines = [json.dumps({"reasoning_gym": name, "size": size, "seed": 3}) for name in names]
    file = folder / "tasks.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return read_tasks([file])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(guests=1, seconds=5), ours=anything)
    yield opened
    await opened.close()


def rule_of(task: Task) -> GymScore:
    assert isinstance(task.score, GymScore)
    return task.score


async def values(sandbox: Sandbox, task: Task, *texts: str) -> list[float | None]:
    asked = [Submission("1", text) for text in texts]
    return [score.value for score in await TaskScorer(sandbox, None).score(task.item().code, asked)]


@pytest.mark.slow
async def test_no_malformed_answer_stays_ungraded_whatever_the_dataset(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    ungraded: dict[str, Any] = {}
    passed = set()
    for task in drawn(tmp_path, *sorted(set(DATASETS) - BARE)):
        found = dict(zip(MALFORMED, await values(sandbox, task, *MALFORMED), strict=True))
        if missing := [text[:20] for text, value in found.items() if value is None]:
            ungraded[task.cluster] = missing
        passed |= {task.cluster for value in found.values() if value == 1.0}
    assert ungraded == {}
    assert passed == TAKES_ANYTHING


async def test_a_right_answer_is_right_whatever_the_dataset(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    wrong = []
    for task in drawn(tmp_path, *sorted(set(DATASETS) - BARE)):
        reference = task.answer
        if task.cluster in WITHOUT_REFERENCE:
            named = WITHOUT_REFERENCE[task.cluster]
            metadata: Any = rule_of(task).entry["metadata"]
            if named is None:
                continue
            reference = metadata[named]
            reference = reference if isinstance(reference, str) else json.dumps(reference)
        if await values(sandbox, task, reference) != [1.0]:
            wrong.append(task.cluster)
    assert wrong == []


async def test_a_scorer_that_raises_on_an_answer_finds_it_wrong(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    [task] = drawn(tmp_path, "prime_factorization")
    scorer = reasoning_gym.get_score_answer_fn("prime_factorization")
    with pytest.raises(ValueError, match="2 x 433"):
        scorer(answer="2 x 433", entry=rule_of(task).entry)
    assert await values(sandbox, task, "2 x 433", task.answer) == [0.0, 1.0]


HANGS = "while True: pass"
EATS = "[0] * 10**10"
DIES = "import os; os._exit(3)"
RAISES = "raise KeyError(answer)"


@pytest.mark.parametrize("harm", [HANGS, EATS, DIES, RAISES])
async def test_an_answer_that_ends_its_scorer_is_wrong_and_the_next_ones_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    [task] = drawn(tmp_path, "gcd")
    limits = SandboxSettings(guests=1, seconds=0.5, preimport=())
    monkeypatch.setattr("agents.evaluation.scoring._PROGRAM", scorer_that("x", harm))
    sandbox = open_sandbox(limits, ours=anything)
    try:
        own = task.answer
        assert await values(sandbox, task, own, "x", own, "y", "x") == [1.0, 0.0, 1.0, 0.0, 0.0]
    finally:
        await sandbox.close()


@pytest.mark.parametrize("harm", [HANGS, DIES, RAISES])
async def test_a_scorer_that_fails_on_the_tasks_own_answer_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    [task] = drawn(tmp_path, "gcd")
    limits = SandboxSettings(guests=1, seconds=0.5, preimport=())
    monkeypatch.setattr("agents.evaluation.scoring._PROGRAM", scorer_that(None, harm))
    sandbox = open_sandbox(limits, ours=anything)
    try:
        assert await values(sandbox, task, "x", "y") == [None, None]
    finally:
        await sandbox.close()


@pytest.mark.parametrize("entry", [{"answer": "7"}, {"answer": 7}, {}])
async def test_an_entry_that_is_not_one_of_the_dataset_leaves_answers_ungraded(
    sandbox: Sandbox, entry: dict[str, Any]
) -> None:
    rule = GymScore(reasoning_gym="n_queens", entry=entry)
    task = Task(id="a", instructions="?", answer="7", score=rule)
    assert await values(sandbox, task, "7", "x") == [None, None]


def scorer_that(answer: str | None, harm: str) -> str:
    """The module's program over a scorer that does harm where it is given an answer, or any."""
    from agents.evaluation.scoring import _PROGRAM

    when = "True" if answer is None else f"answer == {answer!r}"
    scorer = f"def SCORE(answer, entry):\n    if {when}:\n        {harm}\n"
    scorer += "    return float(answer == entry['answer'])\n"
    line = "SCORE = reasoning_gym.get_score_answer_fn({dataset!r})\n"
    assert line in _PROGRAM
    return _PROGRAM.replace(line, scorer).replace("import reasoning_gym\n", "# {dataset!r}\n")


def test_the_datasets_are_those_of_the_installed_package() -> None:
    assert {*BARE, *WITHOUT_REFERENCE, *TAKES_ANYTHING} <= set(DATASETS)
    for name in WITHOUT_REFERENCE:
        assert reasoning_gym.create_dataset(name, size=1, seed=3)[0]["answer"] is None
