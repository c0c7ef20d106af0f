"""Families by name: which one is meant, and how it is called where names repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from console.errors import UsageError
from memory.messages import did_you_mean
from memory.records import Family
from memory.store import RunStore


def labels(families: Iterable[Family]) -> dict[str, str]:
    """Family id -> its name, with the id behind it where several have the same."""
    return told_apart({family.id: family.name for family in families})


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Id -> name, with the id behind it where several have the same."""
    often = Counter(names.values())
    return {key: name if often[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def family_meant(store: RunStore, said: str) -> str:
    """The id of the family, or of the assignment, that somebody means by an id or a name.

    A part of a name will do if only one has it.

    Raises:
        UsageError: nothing is called so, or several are.
    """
    families = {family.id: family.name for family in store.families()}
    assignments = {each.id for each in store.assignments()}
    if said in families or said in assignments:
        return said
    wanted = said.casefold().strip()
    alike = [key for key, name in families.items() if name.casefold() == wanted]
    alike = alike or [key for key, name in families.items() if wanted in name.casefold()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UsageError(f"{said!r} may be any of {', '.join(sorted(alike))}: name one by its id")
    hint = did_you_mean(said, [*families, *families.values(), *assignments])
    raise UsageError(f"the run has no family or assignment {said!r}{hint}")
