"""Who mates: parents are drawn from the archive by their grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evolution.errors import OperatorError
from evolution.registry import get_operator, mating, rule_parameters
from evolution.selection.board import Board, Candidate
from evolution.selection.rates import GRID
from evolution.selection.settings import SelectionSettings

_BY_RULE = 2
"""How many parents follow the rule."""

Weights = NDArray[np.float64]
"""One weight per row of the board, not negative; all zero means uniform."""


def choose_parents(
    candidates: Sequence[Candidate],
    families: Sequence[str],
    rng: np.random.Generator,
    settings: SelectionSettings,
    n: int = 2,
    chances: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Draw n parents; the draw depends on the set of candidates, not on their order.

    `chances` are those of the generative families, see `Board.of`; the rest is as `parents_of`.
    """
    return parents_of(Board.of(candidates, families, chances), rng, settings, n)


def parents_of(
    board: Board, rng: np.random.Generator, settings: SelectionSettings, n: int = 2
) -> tuple[str, ...]:
    """Draw n parents from a board.

    The first two follow the configured rule, further ones (differential evolution) are uniform, as
    in the mutation of Storn and Price (1997). Parents differ from each other as long as there are
    candidates left.

    Returns:
        Ids of the parents, in the order in which they were drawn.

    Raises:
        ValueError: if there is no candidate at all.
        OperatorError: a rule does not give one weight per candidate.
    """
    if not len(board):
        raise ValueError("no candidates to choose parents from")
    rule = get_operator("mating", settings.mating)
    parameters = rule_parameters("mating", rule.name, settings, settings.mating_parameters)
    chosen: list[int] = []
    for place in range(n):
        weights = np.ones(len(board))
        if place < _BY_RULE:
            weights = np.asarray(rule.function(board, tuple(chosen), **parameters), np.float64)
            _check(rule.name, weights, len(board))
        chosen.append(_draw(weights, chosen, rng))
    return tuple(board.candidates[row].id for row in chosen)


def _draw(weights: Weights, chosen: Sequence[int], rng: np.random.Generator) -> int:
    """One row in proportion to the weights, none of those chosen before if there is another."""
    others = [row for row in range(len(weights)) if row not in chosen] or list(range(len(weights)))
    mass = weights[others]
    if not mass.any():
        mass = np.ones(len(others))
    return int(rng.choice(others, p=mass / mass.sum()))


def _check(name: str, weights: Weights, rows: int) -> None:
    if weights.shape != (rows,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise OperatorError(
            f"mating {name!r} must give {rows} weights that are finite and not negative, got "
            f"shape {weights.shape}"
        )


@mating("uniform")
def uniform(board: Board, chosen: Sequence[int]) -> Weights:
    """Every pair is equally likely, as in the AC/DC paper."""
    return np.ones(len(board))


@mating("fitness")
def fitness(board: Board, chosen: Sequence[int]) -> Weights:
    """Both parents in proportion to fitness (roulette wheel; Holland 1975)."""
    return np.array([float(value) for value in board.fitness()])


@mating("attraction")
def attraction(board: Board, chosen: Sequence[int]) -> Weights:
    """The first in proportion to fitness, the second to what it can do and the first cannot.

    After the attraction of M2N2 (Abrantes et al. 2025, arXiv 2508.16204): a family counts by how
    much better a candidate is there than the first parent, and by how many candidates fail it,
    where M2N2 divides by how many pass.
    """
    if not chosen:
        return fitness(board, chosen)
    first = chosen[0]
    better = np.maximum(board.rates - board.rates[first], 0) * board.graded[first]
    complement: Weights = (better * board.fails()).sum(axis=1) / GRID**2
    return complement
