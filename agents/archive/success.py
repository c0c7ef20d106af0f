"""How often what an operator makes survives its first selection."""

from __future__ import annotations

from typing import NamedTuple

from memory.store import RunStore


class Success(NamedTuple):
    """Of one operator.

    Attributes:
        bred: experts that it took part in making, of the generations that were selected.
        survived: those of them that were in the archive of the generation of their birth.
    """

    bred: int
    survived: int


def successes(store: RunStore) -> dict[str, Success]:
    """Crossover, mutation, merge or emitter -> its success, by name.

    An expert counts for each operator that it is made by: `slerp+spectral` for both. Base and seeds
    were not made by any.
    """
    found: dict[str, Success] = {}
    latest = store.latest_archive()
    for generation in range(latest[0] + 1 if latest else 0):
        kept = {entry.expert for entry in store.archive(generation)}
        for expert in store.experts(generation):
            for operator in () if expert.is_seed else expert.operator.split("+"):
                bred, survived = found.get(operator, Success(0, 0))
                found[operator] = Success(bred + 1, survived + (expert.id in kept))
    return dict(sorted(found.items()))
