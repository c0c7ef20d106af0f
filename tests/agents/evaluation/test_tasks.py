"""Reading held-out tasks, and scoring answers to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agents.errors import AnsweringError, SandboxError, TaskFileError
from agents.evaluation.scoring import TaskScorer, same_answer, same_number
from agents.evaluation.tasks import GymScore, read_tasks
from agents.sandbox import Sandbox, Score, Submission, open_sandbox
from agents.settings import SandboxSettings
from tests.conftest import anything


def write(folder: Path, *lines: object) -> Path:
    file = folder / "tasks.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    return file


GYM = {"reasoning_gym": "chain_sum", "size": 3, "seed": 7}


def test_tasks_and_datasets_stand_side_by_side(tmp_path: Path) -> None:
    plain = {"id": "a", "instructions": "2 + 3?", "answer": "5", "score": "number"}
    file = write(tmp_path, plain, "", GYM, {**plain, "id": "b", "generator": "sums"})
    tasks = read_tasks([file])
    names = ["a", "chain_sum-7-0", "chain_sum-7-1", "chain_sum-7-2", "b"]
    assert [task.id for task in tasks] == names
    assert [task.cluster for task in tasks] == ["a", *["chain_sum"] * 3, "sums"]
    assert read_tasks([file, file]) == tasks, "the same task twice is one task"


def test_a_dataset_written_out_is_the_same_as_its_spec(tmp_path: Path) -> None:
    tasks = read_tasks([write(tmp_path, GYM)])
    again = read_tasks([write(tmp_path, *[task.model_dump() for task in tasks])])
    assert again == tasks
    assert isinstance(again[0].score, GymScore)


def test_a_dataset_that_prints_does_not_speak_between_what_is_printed_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = read_tasks([write(tmp_path, {"reasoning_gym": "bf", "size": 2, "seed": 1})])
    assert len(tasks) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "this is not JSON"),
        ("[1]", "expected an object"),
        ({"id": "a", "answer": "1"}, "instructions is missing"),
        ({"id": "a", "instructions": "?", "answer": "1", "scor": "exact"}, "unknown key 'scor'"),
        ({"id": "a", "instructions": "?", "answer": "1", "score": "fuzzy"}, "score"),
        ({"id": "a", "instructions": "?", "answer": " "}, "reference answer is empty"),
        ({"id": "ok", "instructions": "?", "answer": "2"}, "taken by another task"),
        ({"reasoning_gym": "no_such_thing"}, "no_such_thing"),
        ({"reasoning_gym": "chain_sum", "config": {"min_terms": 9}}, "min_terms"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: object, said: str) -> None:
    good = {"id": "ok", "instructions": "?", "answer": "1"}
    with pytest.raises(TaskFileError, match=rf"tasks\.jsonl:2: .*{said}"):
        read_tasks([write(tmp_path, good, line)])


def test_a_file_that_is_empty_or_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="no task"):
        read_tasks([write(tmp_path, "")])
    with pytest.raises(TaskFileError, match="cannot be read"):
        read_tasks([tmp_path / "none.jsonl"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("42", "42.0", True),
        ("it is $1,234.50 in all", "1234.5", True),
        ("first 3, then 4", "4", True),
        ("-7", "7", False),
        ("1e3", "1000", True),
        ("none", "0", False),
        ("0.3333333", "0.33333333", True),
        ("41", "42", False),
        ("1e1e999", "999", True),
        (".5", "0.5", True),
        ("3. Then 7.", "7", True),
    ],
)
def test_numbers_are_compared_by_value(one: str, other: str, same: bool) -> None:
    assert same_number(one, other) is same


def test_silence_is_not_the_answer_that_normalisation_leaves_nothing_of() -> None:
    assert same_answer("Red, green.", "red,  green")
    assert same_answer(" ! ", "!")
    assert not any(same_answer(said, "!") for said in ("", ".", "?", "a"))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(guests=1), ours=anything)
    yield opened
    await opened.close()


class Counting:
    """The sandbox, and how many programs went there; or one that is broken."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self.sandbox = sandbox
        self.programs = 0

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        self.programs += 1
        if self.sandbox is None:
            raise SandboxError("no guests")
        return await self.sandbox.score(code, submissions)


async def test_a_datasets_own_scorer_runs_in_the_sandbox_in_one_program(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    tasks = read_tasks([write(tmp_path, GYM, {**GYM, "reasoning_gym": "gcd"})])
    place = Counting(sandbox)
    scorer = TaskScorer(place, None)
    right = [scorer.score(t.item().code, [Submission("1", t.answer)]) for t in tasks]
    wrong = [scorer.score(t.item().code, [Submission("1", "nothing")]) for t in tasks]
    found = await asyncio.gather(*right, *wrong)
    assert [score.value for [score] in found] == [1.0] * 6 + [0.0] * 6
    assert place.programs == 2, "one program per dataset"


async def test_a_sandbox_that_fails_leaves_answers_ungraded(tmp_path: Path) -> None:
    tasks = read_tasks([write(tmp_path, GYM)])
    scorer = TaskScorer(Counting(None), None)
    asked = [scorer.score(t.item().code, [Submission("1", t.answer)]) for t in tasks]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(error, SandboxError) for error in found)


async def test_rules_without_a_sandbox(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"id": "a", "instructions": "?", "answer": "Red, green"},
        {"id": "b", "instructions": "?", "answer": "7", "score": "number"},
        {"id": "c", "instructions": "?", "answer": "7", "score": "rated"},
    )
    exact, number, rated = (task.item().code for task in read_tasks([file]))
    scorer = TaskScorer(Counting(None), None)
    texts = [Submission("1", "red,  green."), Submission("1", "green, red")]
    assert [s.value for s in await scorer.score(exact, texts)] == [1.0, 0.0]
    assert [s.value for s in await scorer.score(number, [Submission("1", "7.0 cm")])] == [1.0]
    with pytest.raises(AnsweringError, match=r"endpoints\.rater"):
        await scorer.score(rated, texts)
