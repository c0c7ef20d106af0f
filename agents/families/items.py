"""Gradable instances of families: what experts are examined on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from memory.hashing import json_hash
from memory.records import Family, drawn


@dataclass(frozen=True, slots=True)
class Rubric:
    """How a rater grades the answers to one instance of a rated family.

    Attributes:
        text: when an answer passes.
        reference: an answer that passes.
        foils: answers that are known to fail, the longest first; the first is at least as long
            as the reference.
    """

    text: str
    reference: str
    foils: tuple[str, ...]

    @classmethod
    def of(cls, text: str, reference: str, wrong: Sequence[str]) -> Self:
        """The rubric of an instance with these known answers."""
        return cls(text, reference, tuple(sorted(wrong, key=len, reverse=True)))

    @property
    def foil(self) -> str:
        """The wrong answer that is shown beside the reference in every vote."""
        return self.foils[0]


@dataclass(frozen=True)
class Item:
    """One gradable instance of a family.

    Attributes:
        instance: its name in the sandbox: "1", or as `memory.records.drawn` writes it.
        rubric: None where code alone grades.
    """

    code: str
    code_hash: str
    instance: str
    instructions: str
    rubric: Rubric | None = None

    @cached_property
    def instance_hash(self) -> str:
        """Content hash of what is asked and of the code that grades it."""
        return json_hash([self.code_hash, self.instance, self.instructions])


def items_of(family: Family) -> list[Item]:
    """The gradable instances of a family, accepted or drafted."""
    return [
        Item(family.code, family.code_hash, _name(family, number), text, _rubric(family, number))
        for number, text in sorted(family.instructions.items())
    ]


def _name(family: Family, number: str) -> str:
    return number if family.seed is None else drawn(number, family.level, family.seed)


def _rubric(family: Family, name: str) -> Rubric | None:
    if not family.rated:
        return None
    references, wrong = family.reference_answers, family.wrong_answers
    return Rubric.of(family.rubric or "", references[name], wrong[name])
