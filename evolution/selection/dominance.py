"""Dominated Novelty Search: how far is each candidate from every fitter one.

The distances are ratios of integers below 2**53, which float64 holds. Division rounds the larger of
two ratios never below the smaller, so floats tell who may be among the nearest neighbours; exact
fractions decide between those, and make the novelty.
"""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evolution.selection.board import Board
from evolution.selection.rates import GRID, Counts

Distance = Literal["weighted", "unweighted", "hamming"]
Reference = Literal["all", "unsolved"]

UNDOMINATED = Fraction(999)
"""Novelty of the candidate that no other dominates: it is always kept."""


class Ratios(NamedTuple):
    """Distances d(i, j) as fractions: two (candidates, candidates) matrices of integers.

    Attributes:
        scale: by which the ratios are multiplied: 100 for percent.
    """

    numerator: Counts
    denominator: Counts
    scale: int


def distances(board: Board, distance: Distance, ratio_to: Reference) -> Ratios:
    """How much better i is than j where it is better, over the families graded for both.

    With rates p and weights w: d(i, j) = sum_t w_t max(0, p_it - p_jt) / sum_t w_t, in percent; of
    closed families, those that i passes and j fails.

    Args:
        board: the competing candidates.
        distance: `weighted` by the number of candidates that fail a family, `unweighted`, or
            `hamming` (sum_t |p_it - p_jt|: families on which the two differ, a count).
        ratio_to: denominator: `all` families graded for both, or what is `unsolved` by j of them,
            sum_t w_t (1 - p_jt).
    """
    ones = np.ones(board.rates.shape[1], np.int64)
    if distance == "hamming":
        better = _excess(board, ones)
        return Ratios(better + better.T, np.full_like(better, GRID), 1)
    weights = board.fails() if distance == "weighted" else ones
    whole = GRID * board.graded if ratio_to == "all" else board.lacks
    return Ratios(_excess(board, weights), _product(board.graded * weights, whole), 100)


def novelties(board: Board, ratios: Ratios, neighbours: int) -> list[Fraction]:
    """Mean distance to the nearest of those before it in the canonical order, exactly.

    The board is in canonical order, so the dominators F(i) of row i are the rows before it.
    """
    safe = np.maximum(ratios.denominator, 1)
    distance = np.where(ratios.denominator > 0, ratios.numerator / safe, 0.0)
    result = [UNDOMINATED][: len(board)]
    for row in range(1, len(board)):
        found = distance[row, :row]
        count = min(neighbours, row)
        farthest = np.partition(found, count - 1)[count - 1]
        near = [_fraction(ratios, row, int(each)) for each in np.flatnonzero(found <= farthest)]
        result.append(sum(heapq.nsmallest(count, near), Fraction(0)) * ratios.scale / count)
    return result


def _fraction(ratios: Ratios, row: int, other: int) -> Fraction:
    numerator, denominator = ratios.numerator[row, other], ratios.denominator[row, other]
    return Fraction(int(numerator), int(denominator)) if denominator else Fraction(0)


def _excess(board: Board, weights: Counts) -> Counts:
    """(candidates, candidates) sum_t w_t max(0, p_it - p_jt) over families graded for both.

    Where all is passed or failed, that is one product of matrices.
    """
    if not (board.rates % GRID).any():
        return _product(board.rates * weights, board.lacks // GRID)
    # Of a missing entry nobody is ahead, as of a full one.
    others = np.where(board.graded, board.rates, GRID).astype(np.float64)
    weight = weights.astype(np.float64)
    sums = [np.maximum(own - others, 0.0) @ weight for own in board.rates.astype(np.float64)]
    return np.array(sums).reshape(len(board), len(board)).astype(np.int64)


def _product(left: NDArray[np.generic], right: NDArray[np.generic]) -> Counts:
    """Product left @ right.T of integers: float64 BLAS is exact below 2**53, and fast."""
    product = left.astype(np.float64) @ right.astype(np.float64).T
    return product.astype(np.int64)
