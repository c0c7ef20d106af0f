"""A hint, before any run, whether seeds will merge well (paper, appendix J)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evolution.bank import Bank

_CLOSE_PAIR, _EQUIDISTANT = 0.1, 0.7


@dataclass(frozen=True)
class Mergeability:
    """How seeds lie to one another.

    Attributes:
        distances: (seed, seed) -> L2 distance between their weights.
        ratio: smallest by largest distance; None for two seeds, which have but one.
        advice: one line for people. The paper's rule was right in four of five families.
    """

    distances: dict[tuple[str, str], float]
    ratio: float | None
    advice: str


def mergeability(bank: Bank) -> Mergeability | None:
    """Pairwise distances of the seeds (the base is none of them); None for fewer than two."""
    names = bank.seed_names[1:]
    gram = bank.geometry.gram.sum(axis=0)
    distances = {
        (names[i], names[j]): math.sqrt(max(gram[i, i] + gram[j, j] - 2.0 * gram[i, j], 0.0))
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }
    if not distances:
        return None
    smallest, largest = min(distances.values()), max(distances.values())
    if smallest == 0.0:
        one, other = min(distances, key=lambda pair: distances[pair])
        advice = f"{one} and {other} are the same checkpoint: leave one out"
        return Mergeability(distances, 0.0, advice)
    if len(distances) == 1:
        return Mergeability(distances, None, "two seeds only: no ratio of distances to judge by")
    ratio = smallest / largest
    return Mergeability(distances, ratio, f"similarity ratio {ratio:.2f}: {_advice(ratio)}")


def _advice(ratio: float) -> str:
    if ratio < _CLOSE_PAIR:
        return "a close pair among the seeds, which tends to merge well"
    if ratio > _EQUIDISTANT:
        return (
            "all seeds equally far apart, which tends to merge poorly for full fine-tunes; "
            "watch for gibberish in the first generations"
        )
    return "in between, no prediction"
