"""What the task force lacks, and what an expert would add to it there.

With posterior pass rates p (see `rates`) and a force F, a family q is left with

    omega_q = prod_{e in F} (1 - p_eq)

and an expert with rates p_q adds sum_q omega_q p_q to the force's Coverage. What is left is split
into niches, each with the expert from which a search for more had best begin.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evolution.selection.board import Board
from evolution.selection.coverage import Passes, greedy
from evolution.selection.rates import GRID, Floats


@dataclass(frozen=True)
class Niche:
    """A part of what the force lacks.

    Attributes:
        parent: the expert that has most of it.
        weights: family -> what the force lacks of it, above 0.
    """

    parent: str
    weights: Mapping[str, float]


def lacking(board: Board, size: int) -> Floats:
    """(families,) the probability that none of a greedy force passes.

    Args:
        board: among whom the force is chosen.
        size: of the force.
    """
    rates, fitness = board.rates / GRID, board.fitness()
    passes = Passes(
        {each.id: rates[row] for row, each in enumerate(board.candidates)},
        {each.id: float(fitness[row]) for row, each in enumerate(board.candidates)},
        np.ones(board.rates.shape[1]),
    )
    return passes.left(greedy(passes, size))


def niches(
    board: Board,
    families: Sequence[str],
    size: int,
    most: int,
    taken: Collection[str] = (),
) -> list[Niche]:
    """What a force lacks, by the experts that together have most of it.

    Experts are chosen greedily, as facilities are placed for the families' demand (Cornuejols,
    Fisher and Nemhauser 1977); each family belongs to the one of them that is best at it.

    Args:
        board: on these families, in this order.
        families: ids.
        size: of the force.
        most: niches at most.
        taken: families that are left out.

    Returns:
        None where the force lacks nothing. What nobody passes at all is begun from the fittest.
    """
    left = lacking(board, size) * [family not in taken for family in families]
    if not left.any():
        return []
    rates, parents = board.rates / GRID, list[int]()
    served = np.zeros(len(families))
    while len(parents) < min(most, len(board)):
        gains = np.maximum(rates - served, 0.0) @ left
        best = int(gains.argmax())
        if parents and gains[best] <= 0.0:
            break
        parents.append(best)
        served = np.maximum(served, rates[best])
    nearest = rates[parents].argmax(axis=0)
    return [
        Niche(
            board.candidates[parent].id,
            {
                family: float(left[q])
                for q, family in enumerate(families)
                if nearest[q] == place and left[q] > 0.0
            },
        )
        for place, parent in enumerate(parents)
    ]


def gains(board: Board, families: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Expert -> what it adds to a force's Coverage, as a share of what the force lacked, 0 to 1.

    Families that are not asked any more, and those on which an expert is not graded, count for
    nothing: children of different generations can be compared.

    Args:
        board: on these families, in this order.
        families: ids.
        weights: family -> what the force lacked.
    """
    weighed = board.graded * np.array([weights.get(family, 0.0) for family in families])
    added = (weighed * board.rates).sum(axis=1) / GRID
    shares = added / np.maximum(weighed.sum(axis=1), 1 / GRID**2)
    return {each.id: float(shares[row]) for row, each in enumerate(board.candidates)}
