"""What experts are examined on: gradable instances, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from agents.families.proposal import Proposal
from memory.hashing import json_hash, text_hash
from memory.records import Family


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a rater grades the answers to one instance of a rated family by.

    Attributes:
        text: when an answer passes.
        reference: an answer that passes.
        foils: answers that are known to fail, the longest first; that one is at least as long as
            the reference.
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
        """The wrong answer that stands beside the reference in every vote."""
        return self.foils[0]


@dataclass(frozen=True)
class Item:
    """One gradable instance of a family; `rubric` is None where code alone grades."""

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
    """The gradable instances of a family of the pool."""
    rubrics = {
        name: Rubric.of(
            family.rubric or "", family.reference_answers[name], family.wrong_answers[name]
        )
        for name in (family.instructions if family.rated else ())
    }
    return _items(family.code, family.code_hash, family.instructions, rubrics)


def drafted_items(proposal: Proposal, instructions: Mapping[str, str]) -> list[Item]:
    """The gradable instances of a draft whose instructions the sandbox has read."""
    rubrics = {
        name: Rubric.of(proposal.rubric or "", proposal.references[name], proposal.wrong[name])
        for name in (instructions if proposal.rated else ())
    }
    return _items(proposal.code, text_hash(proposal.code), instructions, rubrics)


def _items(
    code: str, code_hash: str, instructions: Mapping[str, str], rubrics: Mapping[str, Rubric]
) -> list[Item]:
    return [
        Item(code, code_hash, name, text, rubrics.get(name))
        for name, text in sorted(instructions.items())
    ]
