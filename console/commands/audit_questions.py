"""Reads the questions of benchmarks, whatever file they come in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.evaluation.leakage import BenchmarkQuestion
from console.errors import UsageError

FIELDS = ("instructions", "question", "instruction", "prompt", "problem", "input", "text")
"""Where a record may keep its question; the first one that holds text is taken."""
NAMES = ("id", "task_id", "question_id", "doc_id")


def read_questions(files: Sequence[Path]) -> list[BenchmarkQuestion]:
    """The questions of task files, JSON lines, JSON arrays and plain texts, in order.

    A record is searched in its `doc` too, where the sample logs of lm-evaluation-harness keep it. A
    plain text is divided at empty lines, or, if it has none, into its lines. A reasoning-gym
    dataset stands for its questions.

    Raises:
        UsageError: a file cannot be read, or a record holds no question; names the line.
    """
    questions = [question for file in files for question in _questions_of(file)]
    if not questions:
        raise UsageError(f"{', '.join(map(str, files))}: there is no question in it")
    return questions


def _questions_of(file: Path) -> Iterator[BenchmarkQuestion]:

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} cannot be read: it is not UTF-8 text") from None
    if text.lstrip().startswith(("{", "[")):
        yield from _records(file, text)
        return
    blocks = [block.strip() for block in text.split("\n\n") if block.strip()]
    pieces = blocks if len(blocks) > 1 else [line for line in text.splitlines() if line.strip()]
    for number, piece in enumerate(pieces, start=1):
        yield BenchmarkQuestion(str(file), str(number), piece.strip())


def _records(file: Path, text: str) -> Iterator[BenchmarkQuestion]:

    for number, record in _parsed(file, text):
        if isinstance(record, Mapping) and isinstance(record.get("reasoning_gym"), str):
            yield from _generated(file, number, record)
            continue
        found = _question_in(record)
        if found is None:
            raise UsageError(
                f"{file}:{number}: no question in it; it must stand in one of {', '.join(FIELDS)}"
            )
        name = _name_of(record, number)
        yield BenchmarkQuestion(str(file), name, found)


def _generated(file: Path, number: int, record: Mapping[str, Any]) -> Iterator[BenchmarkQuestion]:
    """The questions of a dataset that stands for its tasks, as in files for `acdc evaluate`."""
    from agents.evaluation.tasks import GymDataset
    from console.commands.evaluate import drawn_folder

    try:
        tasks = GymDataset.model_validate(record).tasks(drawn_folder())
    except (ValueError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{file}:{number}: {reason}") from None
    yield from (BenchmarkQuestion(str(file), task.id, task.instructions) for task in tasks)


def _parsed(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Records with their numbers: of an array, or one on each line."""
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), start=1)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file} is not JSON: {error}") from None
        return
    # Not splitlines(): a JSON string may hold other line separators than the newline.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{file}:{number} is not JSON: {error}") from None


def _question_in(record: Any) -> str | None:
    if isinstance(record, str):
        return record.strip() or None
    if not isinstance(record, Mapping):
        return None
    for field in FIELDS:
        value = record.get(field)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return _question_in(record["doc"]) if "doc" in record else None


def _name_of(record: Any, number: int) -> str:
    if isinstance(record, Mapping):
        return next((str(record[key]) for key in NAMES if key in record), str(number))
    return str(number)
