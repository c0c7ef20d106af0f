"""M2N2 fitness sharing: a family's reward is divided among those who solve it.

With s the pass matrix, z_j = (sum_i s_ij) ** alpha and share_i = sum_j s_ij / z_j (M2N2, eq. 1-2);
here divided by the number of graded families, so that a missing grade is no loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evolution.selection.board import Board, BoolMatrix

Floats = NDArray[np.float64]


def elimination(board: Board, sharing: float) -> tuple[list[int], list[float]]:
    """Rank all rows by removing, one by one, the one with the least share.

    The shares of the others grow when one leaves, so of two equals only one goes (M2N2 replaces one
    model at a time too). Ties leave from the end of the canonical order.

    Returns:
        Rows, the last to be removed first, and the share that each had when it was removed.
    """
    alive = list(range(len(board)))
    leaving: list[int] = []
    final = np.zeros(len(board))
    graded = np.maximum(board.graded.sum(axis=1), 1)
    while alive:
        shares = shared_fitness(board.passed[alive], sharing) / graded[alive]
        worst = len(alive) - 1 - int(np.argmin(shares[::-1]))
        final[alive[worst]] = shares[worst]
        leaving.append(alive.pop(worst))
    order = leaving[::-1]
    return order, [float(final[row]) for row in order]


def shared_fitness(passed: BoolMatrix, sharing: float) -> Floats:
    """(candidates,) share of each candidate in the rewards of the families it passes.

    Families are grouped by their number of solvers, so that the floats are summed in an order that
    depends neither on the order of families nor on that of candidates.
    """
    count = passed.shape[0]
    solvers = passed.sum(axis=0)
    histogram = np.stack([np.bincount(solvers[row], minlength=count + 1) for row in passed])
    rewards = np.maximum(np.arange(count + 1), 1).astype(np.float64) ** -sharing
    shares: Floats = (histogram * rewards).sum(axis=1)
    return shares
