"""The form of a catalogue entry: a generator, what it tests, and a ladder of five levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEVELS = (1, 2, 3, 4, 5)
AnswerKind = Literal[
    "text", "words", "number", "numbers", "fraction", "factors", "statements", "palindrome"
]
"""How answers are compared; each kind has a normaliser in `agents.offline.answer_kinds`."""
ATOMIC_KINDS: frozenset[AnswerKind] = frozenset({"text", "number"})
"""Kinds whose answers hold no comma, so that two of them can be joined by one."""


@dataclass(frozen=True, slots=True)
class Level:
    """One rung of a ladder.

    Attributes:
        phrase: what is special about it, in words that end a sentence.
        config: arguments of `reasoning_gym.create_dataset`.
    """

    phrase: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wording:
    """Another surface for the same question.

    Attributes:
        title: name of the reworded family.
        pattern: regular expression that finds the data in the generator's question.
        text: format string over the pattern's named groups.
        stretch: whether small models rarely manage it (`benchmarks/ladder.py` shows it).
    """

    title: str
    pattern: str
    text: str
    stretch: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One generator of reasoning-gym, as the offline scientist knows it.

    Attributes:
        generator: its name in reasoning-gym.
        title: begins the name of every family made of it alone.
        capability: the skill that decides.
        asks: one sentence on what is asked, with `{phrase}` for the level.
        kind: how answers are compared.
        levels: the ladder, easiest first.
        wordings: other surfaces, for related families.
        form: a sentence that says which form the answer takes, for when that proves ambiguous.
        avoid: regular expression of questions that are drawn again.
    """

    generator: str
    title: str
    capability: str
    asks: str
    kind: AnswerKind
    levels: tuple[Level, Level, Level, Level, Level]
    form: str
    wordings: tuple[Wording, ...] = field(default=())
    avoid: str = ""

    @property
    def titles(self) -> tuple[str, ...]:
        """All titles by which a family of this generator may go."""
        return (self.title, *(wording.title for wording in self.wordings))


def rung(phrase: str, **config: Any) -> Level:
    """A level from its phrase and its configuration."""
    return Level(phrase, config)


NUMBER = "Give one number in digits and nothing else."
WORD = "Give the answer alone, without any other words."
LIST = "Give the list alone, its items separated by a comma and a space."
YES_NO = "Answer with one word."
