"""Dominated Novelty Search: how far is each candidate from every fitter one.

The distances are ratios of integers below 2**26 (candidates times families), for which float64
division is exact enough to *order* them: two different ratios differ by more than a rounding error,
equal ratios round to the same float. So floats find the nearest neighbours, and exact fractions
make the novelty that decides.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evolution.selection.board import Board, BoolMatrix, Counts

Distance = Literal["weighted", "unweighted", "hamming"]
Reference = Literal["all", "unsolved"]

UNDOMINATED = Fraction(999)
"""Novelty of the candidate that no other dominates: it is always kept."""


class Ratios(NamedTuple):
    """Distances d(i, j) as fractions: two (candidates, candidates) matrices of integers."""

    numerator: Counts
    denominator: Counts


def distances(board: Board, distance: Distance, ratio_to: Reference) -> Ratios:
    """What i can do and j cannot, over the families graded for both.

    Args:
        board: the competing candidates.
        distance: `weighted` by the number of candidates that fail a family, `unweighted`, or
            `hamming` (families on which the two differ, a count).
        ratio_to: denominator: `all` families graded for both, or those `unsolved` by j.
    """
    if distance == "hamming":
        differing = _sums(board.passed, board.failed) + _sums(board.failed, board.passed)
        return Ratios(differing, np.ones_like(differing))
    weights = board.fails() if distance == "weighted" else np.ones(board.passed.shape[1], np.int64)
    numerator = 100 * _sums(board.passed * weights, board.failed)
    whole = board.graded if ratio_to == "all" else board.failed
    return Ratios(numerator, _sums(board.graded * weights, whole))


def novelties(board: Board, ratios: Ratios, neighbours: int) -> list[Fraction]:
    """Mean distance to the nearest of those before it in the canonical order, exactly.

    The board is in canonical order, so the dominators F(i) of row i are the rows before it.
    """
    safe = np.maximum(ratios.denominator, 1)
    distance = np.where(ratios.denominator > 0, ratios.numerator / safe, 0.0)
    result = []
    for row in range(len(board)):
        if row == 0:
            result.append(UNDOMINATED)
            continue
        nearest = np.argsort(distance[row, :row], kind="stable")[:neighbours]
        exact = [_fraction(ratios, row, int(other)) for other in nearest]
        result.append(sum(exact, Fraction(0)) / len(exact))
    return result


def _fraction(ratios: Ratios, row: int, other: int) -> Fraction:
    denominator = int(ratios.denominator[row, other])
    if denominator == 0:
        return Fraction(0)
    return Fraction(int(ratios.numerator[row, other]), denominator)


def _sums(left: NDArray[np.generic], right: BoolMatrix) -> Counts:
    """Product left @ right.T of integers: float64 BLAS is exact below 2**53, and fast."""
    product = left.astype(np.float64) @ right.astype(np.float64).T
    return product.astype(np.int64)
