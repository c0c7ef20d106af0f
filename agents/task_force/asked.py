"""Questions of a run's own history, word for word: whose they are, and what answers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.families.items import Item, item_of, items_of
from agents.task_force.ballot import normalise
from memory.records import Family
from memory.store import RunStore


@dataclass(frozen=True, slots=True)
class AskedBefore:
    """A question that the run itself has asked, and what its history says of an answer to it.

    Attributes:
        family: id of the family that asked it.
        name: of that family.
        reference: an answer that passes; "" where none is known. Others may pass as well.
        right: whether the answer that was given is right; None where it is not the reference and
            nobody gave it before.
    """

    family: str
    name: str
    reference: str
    right: bool | None


class History:
    """What some families of a run have asked so far, by its text; white space does not matter.

    Args:
        store: of the run.
        families: whose questions.
    """

    def __init__(self, store: RunStore, families: Sequence[Family]) -> None:
        self._store = store
        self._families = {family.id: family for family in families}
        self._items: dict[str, tuple[Family, Item]] = {}
        for family in families:
            for item in items_of(family):
                self._items.setdefault(_spaced(item.instructions), (family, item))
        for instance in store.instances():
            asking = self._families.get(instance.family)
            if asking is not None:
                text = _spaced(instance.instructions)
                self._items.setdefault(text, (asking, item_of(asking, instance)))

    def family_of(self, question: str) -> str | None:
        """The id of the family that asked it; None for a question of somebody else."""
        found = self._items.get(_spaced(question))
        return None if found is None else found[0].id

    def judged(self, question: str, answer: str) -> AskedBefore | None:
        """What is known of an answer to a question of the run's own; None for another question."""
        found = self._items.get(_spaced(question))
        if found is None:
            return None
        family, item = found
        return AskedBefore(family.id, family.name, item.reference, self._is_right(item, answer))

    def _is_right(self, item: Item, answer: str) -> bool | None:
        """By the grade of the same answer, or else by the reference: no code runs here."""
        said = normalise(answer)
        for given in self._store.answers_to(item.instance_hash):
            if normalise(given.extracted) == said:
                verdict = self._store.verdict(given.key)
                if verdict is not None:
                    return verdict
        return True if item.reference and normalise(item.reference) == said else None


def _spaced(text: str) -> str:
    return " ".join(text.split())
