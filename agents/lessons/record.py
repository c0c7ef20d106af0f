"""What a run has recorded of its lessons."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from evolution.tutoring.settings import TUTOR
from memory.records import Graft, Record, is_learning
from memory.store import RunStore


class Taught(Record):
    """A lesson as it is kept with its anchor, in `Graft.parameters`.

    Its instances are in `run.db`, under the period `memory.records.learning(generation)`.

    Attributes:
        generation: in which it was given.
        tutors: family -> the expert whose right answers came before the references; "" for none.
        steps: of gradient descent.
        rank: of the factors.
        batch: examples in a step.
        learning_rate: the highest one.
        replay: share of each batch that the parent passed before.
        examples: how many there were.
        own: how many of them have an expert's own answer.
        replayed: examples of what the parent passed before.
        losses: mean cross entropy of a token in the first step and in the last.
    """

    generation: int = Field(ge=1)
    tutors: dict[str, str]
    steps: int
    rank: int
    batch: int
    learning_rate: float
    replay: float
    examples: int
    own: int
    replayed: int
    losses: tuple[float, float]


def lessons_of(store: RunStore) -> list[Taught]:
    """All lessons of a run, in their order."""
    grafts = [Graft.model_validate(event.payload) for event in store.events(Graft.kind)]
    return [Taught.model_validate(each.parameters) for each in grafts if each.method == TUTOR]


def questions_learnt(store: RunStore) -> frozenset[str]:
    """All questions that lessons were about, as `plain` texts."""
    return frozenset(
        plain(each.instructions) for each in store.instances() if is_learning(each.period)
    )


def plain(text: str) -> str:
    """A text whose spaces and line ends do not matter."""
    return " ".join(text.split())


def lessons_about(store: RunStore) -> Counter[str]:
    """Family -> how many lessons were about it."""
    return Counter(family for lesson in lessons_of(store) for family in lesson.tutors)
