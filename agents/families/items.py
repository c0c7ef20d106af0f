"""What experts are examined on: gradable instances, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
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
    return [
        Item(
            code=family.code,
            code_hash=family.code_hash,
            instance=instance,
            instructions=instructions,
            rubric=Rubric.of(
                family.rubric or "",
                family.reference_answers[instance],
                family.wrong_answers[instance],
            )
            if family.rated
            else None,
        )
        for instance, instructions in sorted(family.instructions.items())
    ]


def drafted_items(proposal: Proposal, instructions: dict[str, str]) -> list[Item]:
    """The gradable instances of a draft whose instructions the sandbox has read."""
    references = proposal.reference_answers.model_dump(by_alias=True)
    wrong = proposal.wrong_answers.model_dump(by_alias=True)
    return [
        Item(
            code=proposal.code,
            code_hash=text_hash(proposal.code),
            instance=instance,
            instructions=text,
            rubric=Rubric.of(proposal.rubric or "", references[instance], wrong[instance])
            if proposal.rated
            else None,
        )
        for instance, text in sorted(instructions.items())
    ]
