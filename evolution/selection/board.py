"""The score board: skill vectors of all candidates as matrices, in the canonical order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from memory.records import Skills

BoolMatrix = NDArray[np.bool_]
Counts = NDArray[np.int64]

FULLY_GRADED = Fraction(9, 10)
"""Share of the pool that must be graded before an expert may compete."""

_CODES: Mapping[bool | None, int] = {None: 0, False: 1, True: 2}
"""Verdicts as small integers; no entry is None."""


@dataclass(frozen=True)
class Candidate:
    """An expert that competes for a place in the archive.

    Attributes:
        skills: family id -> passed; an absent family is missing, not failed.
        generation: generation of its birth.
        birth: index within that generation; (generation, birth) is its age.
    """

    id: str
    skills: Skills
    generation: int
    birth: int

    @property
    def seniority(self) -> tuple[int, int, str]:
        """Sorts the oldest first; the id makes the order total."""
        return (self.generation, self.birth, self.id)


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
        """Read the skill vectors and sort; the order of the arguments leaves no trace.

        Raises:
            ValueError: if two candidates share an id, or a family is named twice.
        """
        _refuse_repeats("candidate", [candidate.id for candidate in candidates])
        _refuse_repeats("family", families)
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


def undergraded(candidates: Sequence[Candidate], families: Sequence[str]) -> list[str]:
    """Ids of those with less than 90 % of the pool graded: they are not to compete yet."""
    return [
        candidate.id
        for candidate in candidates
        if _graded_count(candidate, families) < FULLY_GRADED * len(families)
    ]


def _graded_count(candidate: Candidate, families: Sequence[str]) -> int:
    return sum(candidate.skills.get(family) is not None for family in families)


def _refuse_repeats(what: str, ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        repeated = next(name for name, count in Counter(ids).items() if count > 1)
        raise ValueError(f"{what} {repeated!r} is given twice")
