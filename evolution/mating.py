"""Who mates: parents are drawn from the archive by their grades (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evolution.selection.board import Board, Candidate
from evolution.settings import Mating, SelectionSettings

Weights = NDArray[np.float64]
"""One weight per row of the board, not negative; all zero means uniform."""


def choose_parents(
    candidates: Sequence[Candidate],
    families: Sequence[str],
    rng: np.random.Generator,
    settings: SelectionSettings,
    n: int = 2,
) -> tuple[str, ...]:
    """Draw n parents; the draw depends on the set of candidates, not on their order.

    The first two follow the configured rule, further ones (differential evolution) are uniform.
    Parents differ from each other as long as there are candidates left.

    Returns:
        Ids of the parents, in the order in which they were drawn.

    Raises:
        ValueError: if there is no candidate at all.
    """
    if not candidates:
        raise ValueError("no candidates to choose parents from")
    board = Board.of(candidates, families)
    rules = RULES[settings.mating]
    chosen: list[int] = []
    for place in range(n):
        rule = rules[place] if place < len(rules) else _uniform
        chosen.append(_draw(rule(board, chosen), chosen, rng))
    return tuple(board.candidates[row].id for row in chosen)


def _draw(weights: Weights, chosen: Sequence[int], rng: np.random.Generator) -> int:
    """One row in proportion to the weights, none of those chosen before if there is another."""
    others = [row for row in range(len(weights)) if row not in chosen] or list(range(len(weights)))
    mass = weights[others]
    if not mass.any():
        mass = np.ones(len(others))
    return int(rng.choice(others, p=mass / mass.sum()))


def _uniform(board: Board, chosen: Sequence[int]) -> Weights:
    return np.ones(len(board))


def _fitness(board: Board, chosen: Sequence[int]) -> Weights:
    return np.array([float(value) for value in board.fitness()])


def _complement(board: Board, chosen: Sequence[int]) -> Weights:
    """Families that each passes and the first parent fails, weighted by how many fail them."""
    weights = board.fails() * board.failed[chosen[0]]
    complement: Weights = (board.passed * weights).sum(axis=1).astype(np.float64)
    return complement


MatingRule = Callable[[Board, Sequence[int]], Weights]
RULES: dict[Mating, tuple[MatingRule, MatingRule]] = {
    "attraction": (_fitness, _complement),
    "uniform": (_uniform, _uniform),
    "fitness": (_fitness, _fitness),
}
