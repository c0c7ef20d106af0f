"""M2N2 fitness sharing: a family's reward is divided among those who solve it.

With s the pass rates, z_j = (sum_i s_ij) ** alpha and share_i = sum_j s_ij / z_j (M2N2, eq. 1-2);
here divided by the number of graded families, so that a missing grade is no loss. Fewer than one
solver count as one: nobody's share in a family is more than its rate there.
"""

from __future__ import annotations

import numpy as np

from evolution.selection.board import Board
from evolution.selection.rates import GRID, Counts, Floats


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
        shares = shared_fitness(board.rates[alive], sharing) / graded[alive]
        worst = len(alive) - 1 - int(np.argmin(shares[::-1]))
        final[alive[worst]] = shares[worst]
        leaving.append(alive.pop(worst))
    order = leaving[::-1]
    return order, [float(final[row]) for row in order]


def shared_fitness(rates: Counts, sharing: float) -> Floats:
    """(candidates,) share of each candidate in the rewards of the families it passes.

    Families are grouped by their number of solvers (the sum of rates), so that the floats are
    summed in an order that depends neither on the order of families nor on that of candidates. All
    whole numbers of solvers are among the groups, those of closed families.

    Args:
        rates: (candidates, families) in units of 1 / GRID.
        sharing: exponent by which solvers of a family share its reward.
    """
    count = rates.shape[0]
    totals = rates.sum(axis=0)
    solvers = np.union1d(totals, GRID * np.arange(count + 1))
    order = np.argsort(totals, kind="stable")
    groups, starts = np.unique(totals[order], return_index=True)
    passed = np.zeros((count, len(solvers)), np.int64)
    if len(totals):
        passed[:, np.searchsorted(solvers, groups)] = np.add.reduceat(
            rates[:, order], starts, axis=1
        )
    rewards = np.maximum(solvers / GRID, 1.0) ** -sharing
    shares: Floats = (passed / GRID * rewards).sum(axis=1)
    return shares
