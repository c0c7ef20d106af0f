"""What a log holds: who answered what, and whether it was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory.hashing import json_hash
from memory.records import Answer
from memory.store import RunStore

PASSED = "passed"
"""The score of an answer by itself."""


@dataclass(frozen=True)
class Sample:
    """One answer to one question.

    Attributes:
        id: of the question, unique in its log.
        verdicts: score -> right or wrong; a score that is missing could not be given.
        notes: why, in lines.
        metadata: what else is known of it, as JSON.
    """

    id: str
    question: str
    reference: str
    answer: Answer
    verdicts: Mapping[str, bool]
    notes: Sequence[str]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Log:
    """All that one voice or row answered.

    Attributes:
        task: what was asked: `judge`, `evaluate` or `evaluate_guessed`.
        run: name of the run.
        run_id: what tells the run from others of that name.
        who: the voice, or the row with its N.
        samples: answers; those to one question in the order of their epochs.
        reducer: how Inspect makes one score of the epochs of a question.
        cluster: key of the metadata by which standard errors are clustered.
        scores: names of the scores.
        sampling: temperature (None where answers differ in it) and limit of tokens.
        metadata: what else is known of who answers.
    """

    task: str
    run: str
    run_id: str
    who: str
    samples: Sequence[Sample]
    reducer: str
    cluster: str
    scores: Sequence[str] = (PASSED,)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """What Inspect shows as the model."""
        return f"{self.run}/{self.who}"

    @property
    def id(self) -> str:
        """The same whenever the same is written."""
        return json_hash([self.run_id, self.task, self.who])


def run_id_of(store: RunStore, path: Path) -> str:
    """An id that also differs between runs whose folders have the same name."""
    return str(store.meta("run_id") or path.resolve())


def extraction(answer: Answer, reference: str) -> list[str]:
    """What was graded, beside what would be right."""
    marked = "no line begins with Answer:, so the whole reply was graded" if answer.unmarked else ""
    said = [f"extracted: {answer.extracted}", f"reference: {reference}"]
    return [*said, marked] if marked else said
