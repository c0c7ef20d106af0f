"""A genome in words: how far it goes towards each anchor, and what mutations add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evolution.genome.genome import Genome


class Share(NamedTuple):
    """How much of one anchor's task vector a genome has.

    Attributes:
        anchor: its name.
        mean: over the blocks of the model.
        low: the least of a block; `high` the most.
    """

    anchor: str
    mean: float
    low: float
    high: float


def shares_of(genome: Genome, anchors: Sequence[str]) -> list[Share]:
    """What a genome has of each anchor, those left out of which it has nothing.

    Args:
        genome: of an expert; it may have fewer columns than there are anchors.
        anchors: names of the bank's anchors in its order, without the base.
    """
    found = []
    for name, column in zip(anchors, genome.coefficients.T, strict=False):
        if column.any():
            low, high = float(column.min()), float(column.max())
            found.append(Share(name, float(column.mean()), low, high))
    return found


def in_words(genome: Genome, anchors: Sequence[str]) -> str:
    """As a person reads it: `0.76 towards words, 0.24 towards numbers`, the largest first.

    What rounds to nothing in every layer is left out.
    """
    return ", ".join(parts_in_words(genome, anchors))


def parts_in_words(genome: Genome, anchors: Sequence[str]) -> list[str]:
    """The same, part by part; one that says so of an expert that is the base."""
    shares = sorted(shares_of(genome, anchors), key=lambda share: -abs(share.mean))
    parts = []
    for share in shares:
        if max(abs(share.low), abs(share.high)) < 0.005:
            continue
        even = share.high - share.low < 0.005
        spread = "" if even else f" ({share.low:.2f} to {share.high:.2f} over the layers)"
        parts.append(f"{share.mean:.2f} towards {share.anchor}{spread}")
    if genome.displacements:
        parts.append(f"singular values of {len(genome.displacements)} matrices changed")
    if genome.noise:
        parts.append("gaussian noise")
    return parts or [f"the base, {'nearly ' if shares else ''}unchanged"]
