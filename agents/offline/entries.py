"""The form of a catalogue entry: a generator, what it tests, and a ladder of five levels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LEVELS = (1, 2, 3, 4, 5)
AnswerKind = Literal[
    "text", "words", "number", "numbers", "fraction", "factors", "statements", "palindrome"
]
"""How answers are compared; each kind has a reader in `agents.offline.answer_kinds`."""
ATOMIC_KINDS: frozenset[AnswerKind] = frozenset({"text", "number"})
"""Kinds whose answers hold no comma, so that two of them can be joined by one."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(_Part):
    """One rung of a ladder.

    Attributes:
        phrase: what is special about it.
        config: arguments of `reasoning_gym.create_dataset`.
    """

    phrase: str
    config: dict[str, Any]


class Wording(_Part):
    """Another surface for the same question.

    Attributes:
        title: name of the reworded family.
        pattern: regular expression that finds the data in the generator's question.
        text: format string over the pattern's named groups.
        within_reach: whether small models manage it (`benchmarks/ladder.py` shows it).
    """

    title: str
    pattern: str
    text: str
    within_reach: bool = True


class Entry(_Part):
    """One generator of reasoning-gym, as the offline scientist knows it.

    Attributes:
        generator: its name in reasoning-gym.
        title: begins the name of every family made of it alone.
        field: the field of capability that it belongs to, as assignments name it.
        capability: the skill that decides.
        asks: one sentence on what is asked.
        kind: how answers are compared.
        levels: the ladder, easiest first.
        wordings: other surfaces, for related families.
        form: a sentence that says which form the answer takes, for when that proves ambiguous.
        avoid: regular expression of questions that are passed over.
        within_reach: whether some seed expert climbs its first rungs (`benchmarks/ladder.py` shows
            it).
        whole: whether all answers are whole numbers, so that one can go on with them.
        brief: whether a solved example fits beside the question.
        distinct: whether the two instances of a draw need different answers, since there are few.
    """

    generator: str
    title: str
    field: str
    capability: str
    asks: str
    kind: AnswerKind
    levels: Annotated[tuple[Level, ...], Field(min_length=5, max_length=5)]
    form: str
    wordings: tuple[Wording, ...] = ()
    avoid: str = ""
    within_reach: bool = False
    whole: bool = False
    brief: bool = False
    distinct: bool = False

    @property
    def titles(self) -> tuple[str, ...]:
        """All titles by which a family of this generator may go."""
        return (self.title, *(wording.title for wording in self.wordings))

    @property
    def ladder(self) -> str:
        """From where to where the levels go."""
        return f"From the easiest level, {self.levels[0].phrase}, to {self.levels[-1].phrase}."

    def __hash__(self) -> int:
        return hash(self.generator)
