"""The survival rules, by name, and the one function that applies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from evolution.errors import OperatorError
from evolution.registry import get_operator, rule_parameters, survival
from evolution.selection.board import Board, Candidate
from evolution.selection.dominance import Distance, Reference, distances, novelties
from evolution.selection.niches import elimination
from evolution.selection.settings import SelectionSettings


@dataclass(frozen=True)
class Ranked:
    """A candidate in its place.

    Attributes:
        fitness: mean pass rate over its graded families.
        novelty: what the rule ranks by: dominated novelty, fitness or shared fitness.
    """

    id: str
    fitness: float
    novelty: float


@dataclass(frozen=True)
class Selection:
    """Outcome of survival, best first: who is kept, and the ranking of all."""

    kept: tuple[Ranked, ...]
    ranking: tuple[Ranked, ...]


Neighbours = Annotated[int, Field(ge=1)]
Sharing = Annotated[float, Field(ge=0.0)]
Order = list[tuple[int, float]]
"""Rows of a board with what they are ranked by, best first."""


def survive(
    candidates: Sequence[Candidate],
    families: Sequence[str],
    capacity: int,
    settings: SelectionSettings,
    chances: Mapping[str, float] | None = None,
) -> Selection:
    """Rank the candidates on the families and keep the best `capacity`.

    The result depends on the sets of candidates and families, not on their order.
    `chances` are those of the generative families, see `Board.of`.

    Raises:
        ValueError: if two candidates share an id, or a family is named twice.
        OperatorError: the rule does not rank every candidate once.
    """
    board = Board.of(candidates, families, chances)
    fitness = board.fitness()
    rule = get_operator("survival", settings.survival)
    parameters = rule_parameters("survival", rule.name, settings, settings.survival_parameters)
    order: Order = rule.function(board, **parameters)
    if sorted(row for row, _ in order) != list(range(len(board))):
        raise OperatorError(
            f"survival {rule.name!r} must rank each of the {len(board)} candidates once, got "
            f"{[row for row, _ in order]}"
        )
    ranking = tuple(
        Ranked(board.candidates[row].id, float(fitness[row]), value) for row, value in order
    )
    return Selection(kept=ranking[:capacity], ranking=ranking)


@survival("dns")
def dominated_novelty(
    board: Board, *, distance: Distance, ratio_to: Reference, neighbours: Neighbours
) -> Order:
    """Dominated Novelty Search (Bahlous-Boldi et al. 2025, arXiv 2502.00593), exact, order-free.

    Novelty is the mean distance to the nearest fitter candidates, on skill vectors as in the AC/DC
    paper, or on pass rates. Of candidates with identical entries only the oldest competes; the
    others rank last, with novelty 0, and do not count in the weights of the families.

    Args:
        board: all candidates.
        distance: `weighted`, `unweighted` or `hamming`, see `dominance.distances`.
        ratio_to: denominator of the distance, all families or those unsolved by the fitter one.
        neighbours: how many of the nearest fitter candidates novelty averages over.
    """
    competing, duplicates = board.split_duplicates()
    # Without its duplicates a candidate can gain unique solves, which changes the order of equals.
    field = board.rows(competing).sorted()
    row_of = {candidate.id: row for row, candidate in enumerate(board.candidates)}
    values = novelties(field, distances(field, distance, ratio_to), neighbours)
    ranked: list[tuple[Fraction, int]] = sorted(
        ((value, place) for place, value in enumerate(values)), key=lambda item: (-item[0], item[1])
    )
    first = [(row_of[field.candidates[place].id], float(value)) for value, place in ranked]
    return first + [(row, 0.0) for row in duplicates]


@survival("fitness")
def pure_fitness(board: Board) -> Order:
    """The fittest first; the board is in that order already.

    Truncation selection (Muehlenbein and Schlierkamp-Voosen 1993, "Predictive models for the
    breeder genetic algorithm").
    """
    return [(row, float(value)) for row, value in enumerate(board.fitness())]


@survival("niches")
def niches(board: Board, *, sharing: Sharing) -> Order:
    """Fitness sharing of M2N2 (Abrantes et al. 2025, arXiv 2508.16204, equations 1 and 2).

    Args:
        board: all candidates.
        sharing: exponent by which solvers of a family share its reward.
    """
    rows, shares = elimination(board, sharing)
    return list(zip(rows, shares, strict=True))
