"""Gradable instances of families: what experts are examined on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from memory.hashing import json_hash
from memory.records import FIXED, OWN, Family, Instance, drawn
from memory.store import RunStore


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
        reference: an answer that passes; "" where none is known.
    """

    code: str
    code_hash: str
    instance: str
    instructions: str
    rubric: Rubric | None = None
    reference: str = ""

    @cached_property
    def instance_hash(self) -> str:
        """Content hash of what is asked and of the code that grades it."""
        return json_hash([self.code_hash, self.instance, self.instructions])


def items_of(family: Family) -> list[Item]:
    """The instances with which a family was written, accepted or drafted."""
    return [
        Item(
            code=family.code,
            code_hash=family.code_hash,
            instance=number if family.seed is None else drawn(number, family.level, family.seed),
            instructions=text,
            rubric=_rubric(
                family, family.reference_answers[number], family.wrong_answers.get(number, ())
            ),
            reference=family.reference_answers[number],
        )
        for number, text in sorted(family.instructions.items())
    ]


def item_of(family: Family, instance: Instance) -> Item:
    """A fresh instance of a generative family."""
    return Item(
        code=family.code,
        code_hash=family.code_hash,
        instance=instance.name,
        instructions=instance.instructions,
        rubric=_rubric(family, instance.reference, instance.wrong),
        reference=instance.reference,
    )


def asked_before(store: RunStore, family: Family, period: int) -> list[Item]:
    """What was asked of a family before a period: the latest first, last what it was written with.

    Nothing of the finals is among them, and nothing that was learnt from.
    """
    fresh = [each for each in store.instances(family.id) if 0 <= each.period < period]
    fresh.sort(key=lambda each: -each.period)
    return [item_of(family, each) for each in fresh] + items_of(family)


def all_asked(store: RunStore, family: Family) -> list[Item]:
    """Everything that was ever asked of a family, the finals included, in the order of periods."""
    return [item for _, item in asked_in_periods(store, family)]


def asked_in_periods(store: RunStore, family: Family) -> list[tuple[int, Item]]:
    """The same, each with its period: `FIXED` or `OWN` of what the family was written with."""
    written = OWN if family.generative else FIXED
    own = [(written, item) for item in items_of(family)]
    return own + [(each.period, item_of(family, each)) for each in store.instances(family.id)]


def asked_by_hash(store: RunStore, families: Iterable[Family]) -> dict[str, tuple[str, Item]]:
    """Instance hash -> id of the family and question, of all that was ever asked of families."""
    return {
        item.instance_hash: (family.id, item)
        for family in families
        for item in all_asked(store, family)
    }


def _rubric(family: Family, reference: str, wrong: Sequence[str]) -> Rubric | None:
    return Rubric.of(family.rubric or "", reference, wrong) if family.rated else None
