"""Similarity of embeddings: exact, and the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

_DECIMALS = 6

Vector = Float32[np.ndarray, " size"]


class Neighbour(NamedTuple):
    """A family and its cosine similarity to what was asked for, in [-1, 1]."""

    family_id: str
    similarity: float


def nearest(vectors: Mapping[str, Vector], query: Vector, k: int) -> list[Neighbour]:
    """The k families whose unit vectors are most similar to a unit vector; ties by id."""
    if not vectors:
        return []
    rows = np.stack(list(vectors.values())).astype(np.float64)
    # Rounded, so that ties are ties on every machine.
    cosines = np.clip(np.round(rows @ query.astype(np.float64), _DECIMALS), -1.0, 1.0)
    neighbours = [Neighbour(*pair) for pair in zip(vectors, cosines.tolist(), strict=True)]
    return sorted(neighbours, key=lambda item: (-item.similarity, item.family_id))[:k]
