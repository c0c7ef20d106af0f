"""A hint, before any run, whether seeds will merge well (paper, appendix J)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from evolution.bank.bank import Bank
from evolution.bank.task_vectors import LowRank, TaskVector

_CLOSE_PAIR, _EQUIDISTANT = 0.1, 0.7
_ALIGNED, _OPPOSED = 0.5, -0.2

_ROWS = 64
"""Rows of each tensor on which signs are compared."""

Pairs = dict[tuple[str, str], float]
"""(seed, seed) -> a number, each pair once."""


@dataclass(frozen=True)
class Mergeability:
    """How seeds lie to one another.

    Attributes:
        distances: L2 distances between their weights.
        ratio: smallest by largest distance; None for two seeds, which have but one.
        advice: one line for people. The paper's rule was right in four of five families.
        cosines: of their task vectors, from the Gram matrices; not of seeds equal to the base.
        sign_agreement: share of weights that both change and change in the same direction, on a
            sample of rows; 0.5 is chance. Pairs that change no weight in common are left out.
    """

    distances: Pairs
    ratio: float | None
    advice: str
    cosines: Pairs = field(default_factory=dict)
    sign_agreement: Pairs = field(default_factory=dict)


def mergeability(bank: Bank) -> Mergeability | None:
    """Geometry of the seeds (not counting the base); None for fewer than two."""
    names = bank.seed_names[1:]
    gram = bank.geometry.gram.sum(axis=0)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    if not pairs:
        return None

    def of_pairs(measure: Callable[[int, int], float | None]) -> Pairs:
        measured = {(names[i], names[j]): measure(i, j) for i, j in pairs}
        return {pair: value for pair, value in measured.items() if value is not None}

    distances = of_pairs(
        lambda i, j: math.sqrt(max(gram[i, i] + gram[j, j] - 2.0 * gram[i, j], 0.0))
    )
    cosines = of_pairs(lambda i, j: _cosine(gram, i, j))
    vectors = [anchor.vectors for anchor in bank.anchors]
    agreement = of_pairs(lambda i, j: _sign_agreement(vectors[i], vectors[j]))
    smallest, largest = min(distances.values()), max(distances.values())
    ratio: float | None = None
    if smallest == 0.0:
        one, other = min(distances, key=lambda pair: distances[pair])
        ratio, advice = 0.0, f"{one} and {other} are the same checkpoint: leave one out"
    elif len(distances) == 1:
        advice = "only two seeds: a ratio of distances needs three" + _of_cosines(cosines)
    else:
        ratio = smallest / largest
        advice = f"similarity ratio {ratio:.2f}: {_of_ratio(ratio)}{_of_cosines(cosines)}"
    return Mergeability(distances, ratio, advice, cosines, agreement)


def _cosine(gram: Float[np.ndarray, "seeds seeds"], i: int, j: int) -> float | None:
    lengths = math.sqrt(gram[i, i] * gram[j, j])
    return float(gram[i, j] / lengths) if lengths > 0.0 else None


def _sign_agreement(one: Mapping[str, TaskVector], other: Mapping[str, TaskVector]) -> float | None:
    same = both = 0
    for name, vector in one.items():
        if name in other:
            products = _sampled(vector).sign() * _sampled(other[name]).sign()
            same += int((products > 0).sum())
            both += int((products != 0).sum())
    return same / both if both else None


def _sampled(vector: TaskVector) -> Float[Tensor, "rows columns"]:
    """Some rows of a task vector, the same ones of every seed's."""
    rows = len(vector.up) if isinstance(vector, LowRank) else len(vector.values)
    chosen = torch.arange(0, rows, max(1, rows // _ROWS))[:_ROWS]
    if isinstance(vector, LowRank):
        return vector.up[chosen.to(vector.up.device)] @ vector.down * vector.scale
    return vector.values.reshape(rows, -1)[chosen.to(vector.values.device)].float()


def _of_ratio(ratio: float) -> str:
    if ratio < _CLOSE_PAIR:
        return "a close pair among the seeds, which tends to merge well"
    if ratio > _EQUIDISTANT:
        return (
            "all seeds equally far apart, which tends to merge poorly for full fine-tunes; the "
            "quickstart's LoRA experts are equally far apart too, and still merge well"
        )
    return "in between; no prediction"


def _of_cosines(cosines: Pairs) -> str:
    if not cosines:
        return ""
    (one, other), extreme = max(cosines.items(), key=lambda item: abs(item[1]))
    found = f"; task vectors: largest cosine {extreme:+.2f} ({one}, {other})"
    if extreme > _ALIGNED:
        return f"{found}: these two learned much the same thing"
    if extreme < _OPPOSED:
        return f"{found}: adding these two undoes part of both"
    return f"{found}: they hardly interfere"
