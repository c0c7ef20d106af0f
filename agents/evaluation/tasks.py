"""Held-out tasks: read from JSON lines, each with its own way of being scored.

A line is a task, `{"id", "instructions", "answer"}` with optional `"score"` (how it is graded) and
`"generator"` (tasks of one generator rise and fall together), or a reasoning-gym dataset that
stands for its tasks, `{"reasoning_gym": "chain_sum", "size": 50, "seed": 7, "config": {...}}`.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from agents.errors import TaskFileError
from agents.evaluation.kept import UNSTABLE, kept_lines
from agents.judge.examiner import Item
from memory.hashing import json_hash, text_hash
from memory.messages import first_problem
from memory.records import Json, Record

MOST_TASKS = 1_000_000
"""Of one dataset; they are held in memory."""


class GymScore(Record):
    """Scored by the scorer of a reasoning-gym dataset.

    Attributes:
        reasoning_gym: name of the dataset.
        entry: the entry as the scorer wants it: question, answer, metadata.
    """

    reasoning_gym: str
    entry: dict[str, Json]


ScoringRule = Literal["exact", "number", "rated"] | GymScore


class Task(Record):
    """One held-out task.

    Attributes:
        answer: the reference answer.
        score: `exact`: equal after normalisation; `number`: the last number is equal; `rated`: the
            rater finds that it agrees with the reference; or a dataset's own scorer.
        generator: which tasks rise and fall together; the dataset, or the task alone, if empty.
        field: the field of capability that it belongs to, as families have one; "" if none is told.
    """

    id: str = Field(min_length=1)
    instructions: str = Field(min_length=1)
    answer: str
    score: ScoringRule = "exact"
    generator: str = ""
    field: str = ""

    @model_validator(mode="after")
    def _refuse_silence(self) -> Task:
        if not isinstance(self.score, GymScore) and not self.answer.strip():
            raise ValueError("the reference answer is empty: any empty reply would be right")
        return self

    @property
    def cluster(self) -> str:
        """The unit that is resampled for intervals."""
        if self.generator:
            return self.generator
        return self.score.reasoning_gym if isinstance(self.score, GymScore) else self.id

    def item(self) -> Item:
        """The task as an examiner takes it; its `code` says how it is scored."""
        rule: dict[str, Any] = {"answer": self.answer, "score": self.score}
        if isinstance(self.score, GymScore):
            rule = {"answer": "", "score": self.score.model_dump()}
        if self.score == "rated":
            rule["question"] = self.instructions
        code = json.dumps(rule, sort_keys=True, ensure_ascii=False)
        return Item(code, text_hash(code), "1", self.instructions)


class GymDataset(Record):
    """A line that stands for the tasks of a reasoning-gym dataset."""

    reasoning_gym: str
    size: int = Field(default=20, ge=1, le=MOST_TASKS)
    seed: int = 0
    config: dict[str, Json] = Field(default_factory=dict)

    def tasks(self, kept: Path | None = None) -> list[Task]:
        """The tasks.

        Args:
            kept: folder of the datasets that no two processes draw alike: what was drawn first is
                read again (`agents.evaluation.kept`). None draws them anew.

        Raises:
            ValueError: there is no such dataset, or it does not take this configuration.
            TaskFileError: what is kept cannot be read or written.
        """
        if kept is None or self.reasoning_gym not in UNSTABLE:
            return self._drawn(0)
        key = [version("reasoning-gym"), self.reasoning_gym, self.seed, self.config]
        file = kept / f"{self.reasoning_gym}-{json_hash(key)}.jsonl"
        kept_lines(file, self.size, lambda start: [t.model_dump_json() for t in self._drawn(start)])
        return [Task.model_validate(line) for _, line in islice(read_lines(file), self.size)]

    def _drawn(self, start: int) -> list[Task]:
        """The tasks from a place on, as this process draws them."""
        import reasoning_gym

        # Some generators print while they draw, which would stand among what --json prints.
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = reasoning_gym.create_dataset(
                self.reasoning_gym, size=self.size, seed=self.seed, **self.config
            )
            entries = {index: dataset[index] for index in range(start, self.size)}
        return [self._task(index, entry) for index, entry in entries.items()]

    def _task(self, index: int, entry: dict[str, Any]) -> Task:
        kept = {key: entry[key] for key in ("question", "answer", "metadata")}
        return Task(
            id=f"{self.reasoning_gym}-{self.seed}-{index}",
            instructions=str(entry["question"]).strip(),
            answer=str(entry["answer"]),
            score=GymScore(reasoning_gym=self.reasoning_gym, entry=json.loads(json.dumps(kept))),
            generator=self.reasoning_gym,
        )


def read_tasks(files: Sequence[Path], kept: Path | None = None) -> list[Task]:
    """All tasks of some files, in order.

    Args:
        files: task files.
        kept: folder of datasets that no two processes draw alike, as in `GymDataset.tasks`.

    Raises:
        TaskFileError: names the file and the line that is wrong.
    """
    tasks: dict[str, Task] = {}
    for file in files:
        for number, line in read_lines(file):
            try:
                for task in _tasks_of(line, kept):
                    if task.id in tasks and tasks[task.id] != task:
                        raise ValueError(f"the id {task.id!r} is taken by another task")
                    tasks[task.id] = task
            except ValidationError as error:
                raise TaskFileError(f"{file}:{number}: {_first(error)}") from None
            except (ValueError, TypeError, AssertionError) as error:
                raise TaskFileError(f"{file}:{number}: {error or type(error).__name__}") from None
    if not tasks:
        raise TaskFileError(f"{', '.join(map(str, files))}: there is no task in it")
    return list(tasks.values())


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file with their line numbers; empty lines are skipped.

    Raises:
        TaskFileError: the file cannot be read, or a line is no JSON object.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskFileError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{file} is not UTF-8: {error}") from None
    # Not splitlines(): a JSON string may hold other line separators than the newline.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            # JSON may name half of a pair of surrogates, which no text in UTF-8 can hold.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise TaskFileError(f"{file}:{number}: this is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise TaskFileError(f"{file}:{number}: expected an object, got {line.strip()[:40]}")
        yield number, value


def _tasks_of(line: dict[str, Any], kept: Path | None) -> list[Task]:
    if "reasoning_gym" in line:
        return GymDataset.model_validate(line).tasks(kept)
    return [Task.model_validate(line)]


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{where} is missing; a task is {{id, instructions, answer}}"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where!r}; a task has {', '.join(Task.model_fields)}"
    return first_problem(error)
