"""Survival and attraction on verdicts alone: what the rules on rates are compared with.

Every skill is passed or failed. Boolean matrices and counts, as the rules were before families had
pass rates; kept apart from the code that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evolution.selection import Candidate
from evolution.selection.settings import SelectionSettings

BoolMatrix = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_CODES: dict[object, int] = {None: 0, False: 1, True: 2}


@dataclass(frozen=True)
class Board:
    """Candidates in the canonical order: fitness, more unique solves, older, id.

    Attributes:
        passed: (candidates, families), True where the family was graded and passed.
        graded: (candidates, families), False where the entry is missing.
    """

    candidates: tuple[Candidate, ...]
    passed: BoolMatrix
    graded: BoolMatrix

    @staticmethod
    def of(candidates: Sequence[Candidate], families: Sequence[str]) -> Board:
        """Read the skill vectors and sort; the order of the arguments leaves no trace."""
        verdicts = np.zeros((len(candidates), len(families)), dtype=np.int8)
        for row, candidate in enumerate(candidates):
            found = map(candidate.skills.get, families)
            verdicts[row] = np.fromiter(map(_CODES.__getitem__, found), np.int8, len(families))
        passed, graded = verdicts == _CODES[True], verdicts != _CODES[None]
        return Board(tuple(candidates), passed, graded).sorted()

    def __len__(self) -> int:
        return len(self.candidates)

    def rows(self, indices: Sequence[int]) -> Board:
        """The board of some of the candidates, in the given order."""
        picked = list(indices)
        return Board(
            tuple(self.candidates[i] for i in picked), self.passed[picked], self.graded[picked]
        )

    def sorted(self) -> Board:
        """The same board in canonical order."""
        fitness = self.fitness()
        unique = (self.passed & (self.passed.sum(axis=0) == 1)).sum(axis=1)
        order = sorted(
            range(len(self)),
            key=lambda i: (-fitness[i], -int(unique[i]), self.candidates[i].seniority),
        )
        return self.rows(order)

    @property
    def failed(self) -> BoolMatrix:
        """(candidates, families), True where the family was graded and not passed."""
        return self.graded & ~self.passed

    def fails(self) -> Counts:
        """(families,) number of candidates that fail each family."""
        counts: Counts = self.failed.sum(axis=0, dtype=np.int64)
        return counts

    def fitness(self) -> list[Fraction]:
        """Share of passes among the graded entries, exactly; 0 if nothing is graded."""
        passes, graded = self.passed.sum(axis=1), self.graded.sum(axis=1)
        return [Fraction(int(p), max(int(g), 1)) for p, g in zip(passes, graded, strict=True)]

    def split_duplicates(self) -> tuple[list[int], list[int]]:
        """Rows that compete, and rows whose masks equal those of an older one."""
        oldest: dict[bytes, int] = {}
        for row in sorted(range(len(self)), key=lambda i: self.candidates[i].seniority):
            mask = self.passed[row].tobytes() + self.graded[row].tobytes()
            oldest.setdefault(mask, row)
        competing = set(oldest.values())
        everyone = range(len(self))
        return (
            [row for row in everyone if row in competing],
            [row for row in everyone if row not in competing],
        )


UNDOMINATED = Fraction(999)
"""Novelty of the candidate that no other dominates: it is always kept."""


class Ratios(NamedTuple):
    """Distances d(i, j) as fractions: two (candidates, candidates) matrices of integers."""

    numerator: Counts
    denominator: Counts


def distances(board: Board, distance: str, ratio_to: str) -> Ratios:
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


def ranking(
    candidates: Sequence[Candidate], families: Sequence[str], settings: SelectionSettings
) -> list[tuple[str, float, float]]:
    """Id, fitness and what is ranked by, best first."""
    board = Board.of(candidates, families)
    fitness = {c.id: float(f) for c, f in zip(board.candidates, board.fitness(), strict=True)}
    return [
        (board.candidates[row].id, fitness[board.candidates[row].id], value)
        for row, value in _order(board, settings)
    ]


def _order(board: Board, settings: SelectionSettings) -> list[tuple[int, float]]:
    if settings.survival == "fitness":
        return [(row, float(value)) for row, value in enumerate(board.fitness())]
    if settings.survival == "niches":
        return list(zip(*elimination(board, settings.sharing), strict=True))
    competing, duplicates = board.split_duplicates()
    field = board.rows(competing).sorted()
    row_of = {candidate.id: row for row, candidate in enumerate(board.candidates)}
    ratios = distances(field, settings.distance, settings.ratio_to)
    values = novelties(field, ratios, settings.neighbours)
    ranked = sorted(
        ((value, place) for place, value in enumerate(values)), key=lambda item: (-item[0], item[1])
    )
    first = [(row_of[field.candidates[place].id], float(value)) for value, place in ranked]
    return first + [(row, 0.0) for row in duplicates]


def attraction(
    candidates: Sequence[Candidate], families: Sequence[str], first: str
) -> dict[str, float]:
    """Weights of the second parent after the first."""
    board = Board.of(candidates, families)
    chosen = next(row for row, each in enumerate(board.candidates) if each.id == first)
    weights = board.fails() * board.failed[chosen]
    complement: Floats = (board.passed * weights).sum(axis=1).astype(np.float64)
    return {c.id: float(w) for c, w in zip(board.candidates, complement, strict=True)}
