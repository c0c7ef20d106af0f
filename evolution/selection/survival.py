"""The survival rules, by name, and the one function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from evolution.selection.board import Board, Candidate
from evolution.selection.dominance import distances, novelties
from evolution.selection.niches import elimination
from evolution.settings import SelectionSettings, Survival


@dataclass(frozen=True)
class Ranked:
    """A candidate in its place.

    Attributes:
        fitness: share of passes among its graded families.
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


Order = list[tuple[int, float]]
"""Rows of a board with what they are ranked by, best first."""
SurvivalRule = Callable[[Board, SelectionSettings], Order]


def survive(
    candidates: Sequence[Candidate],
    families: Sequence[str],
    capacity: int,
    settings: SelectionSettings,
) -> Selection:
    """Rank the candidates on the families and keep the best `capacity`.

    The result depends on the sets of candidates and families, not on their order.

    Raises:
        ValueError: if two candidates share an id, or a family is named twice.
    """
    board = Board.of(candidates, families)
    fitness = board.fitness()
    ranking = tuple(
        Ranked(board.candidates[row].id, float(fitness[row]), value)
        for row, value in RULES[settings.survival](board, settings)
    )
    return Selection(kept=ranking[:capacity], ranking=ranking)


def dominated_novelty(board: Board, settings: SelectionSettings) -> Order:
    """Dominated Novelty Search, exact and order-free (DESIGN 5).

    Of candidates with identical masks only the oldest competes; the others rank last, with
    novelty 0, and do not count in the weights of the families.
    """
    competing, duplicates = board.split_duplicates()
    # Without its duplicates a candidate can gain unique solves, which changes the order of equals.
    field = board.rows(competing).sorted()
    row_of = {candidate.id: row for row, candidate in enumerate(board.candidates)}
    ratios = distances(field, settings.distance, settings.ratio_to)
    values = novelties(field, ratios, settings.neighbours)
    ranked: list[tuple[Fraction, int]] = sorted(
        ((value, place) for place, value in enumerate(values)), key=lambda item: (-item[0], item[1])
    )
    first = [(row_of[field.candidates[place].id], float(value)) for value, place in ranked]
    return first + [(row, 0.0) for row in duplicates]


def pure_fitness(board: Board, settings: SelectionSettings) -> Order:
    """The fittest first; the board is in that order already."""
    return [(row, float(value)) for row, value in enumerate(board.fitness())]


def niches(board: Board, settings: SelectionSettings) -> Order:
    """Fitness sharing of M2N2."""
    rows, shares = elimination(board, settings.sharing)
    return list(zip(rows, shares, strict=True))


RULES: dict[Survival, SurvivalRule] = {
    "dns": dominated_novelty,
    "fitness": pure_fitness,
    "niches": niches,
}
