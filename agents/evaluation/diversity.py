"""How diverse a set of families is: the Vendi score, and who stands behind how much of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from memory.novelty.embedding import Vectors
from memory.records import Family


def vendi_score(vectors: Vectors) -> float:
    """The effective number of different texts: 1 if all are equal, n if all are orthogonal.

    exp(-sum_i l_i log l_i) over the eigenvalues l_i of K / n, where K holds the cosine similarities
    of all pairs (Friedman and Dieng, "The Vendi Score", 2023, definition 3.1, of order 1).

    Args:
        vectors: (texts, size) unit rows.

    Returns:
        A number from 1 to the number of texts; 0 for no text.
    """
    texts, size = vectors.shape
    if texts == 0:
        return 0.0
    rows = vectors.astype(np.float64)
    # X X^T and X^T X share their eigenvalues but for zeros: the smaller one is enough.
    gram = rows @ rows.T if texts <= size else rows.T @ rows
    shares = np.linalg.eigvalsh(gram / texts)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def shares_by_origin(families: Iterable[Family]) -> dict[str, float]:
    """Origin -> share of the families, the largest first, then by name.

    The origin of a procedural family is its generator, and a composition counts in equal parts for
    all of its generators; the origin of what an LLM wrote is the capability that it states.
    """
    counts: defaultdict[str, float] = defaultdict(float)
    total = 0
    for family in families:
        total += 1
        origins = [name for name in family.generator.split(",") if name] or [family.capability]
        for origin in origins:
            counts[origin] += 1 / len(origins)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {origin: count / total for origin, count in ranked}
