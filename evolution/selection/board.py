"""The score board: pass rates of all candidates as a matrix, in the canonical order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from evolution.selection.rates import GRID, Counts, posterior
from memory.records import Skill, SkillCounts

BoolMatrix = NDArray[np.bool_]

FULLY_GRADED = Fraction(9, 10)
"""Share of the pool that must be graded before an expert may compete."""


@dataclass(frozen=True)
class Candidate:
    """An expert that competes for a place in the archive.

    Attributes:
        skills: family id -> passes and graded instances, or the verdict on a closed family; an
            absent family is missing, not failed.
        generation: generation of its birth.
        birth: index within that generation; (generation, birth) is its age.
    """

    id: str
    skills: SkillCounts
    generation: int
    birth: int

    @property
    def seniority(self) -> tuple[int, int, str]:
        """Sorts the oldest first; the id makes the order total."""
        return (self.generation, self.birth, self.id)


@dataclass(frozen=True)
class Board:
    """Candidates in the canonical order: fitness, more that they alone can do, older, id.

    Rates are whole numbers of 1 / GRID, so that sums are exact. On closed families they are 0 or
    GRID, and every "how much" below is a "how many".

    Attributes:
        rates: (candidates, families) pass rate, see `rates.posterior`; 0 where it is missing.
        graded: (candidates, families), False where the entry is missing.
    """

    candidates: tuple[Candidate, ...]
    rates: Counts
    graded: BoolMatrix

    @staticmethod
    def of(
        candidates: Sequence[Candidate],
        families: Sequence[str],
        chances: Mapping[str, float] | None = None,
    ) -> Board:
        """Read the skill vectors and sort; the order of the arguments leaves no trace.

        Args:
            candidates: all that compete.
            families: on which they are compared.
            chances: generative family -> share of its instances that the best constant answer
                passes; families that are absent are closed.

        Raises:
            ValueError: if two candidates share an id, or a family is named twice.
        """
        _refuse_repeats("candidate", [candidate.id for candidate in candidates])
        _refuse_repeats("family", families)
        passes, asked = counts(candidates, families)
        chance = np.array([(chances or {}).get(family, np.nan) for family in families], np.float64)
        rates = posterior(passes, asked, chance)
        return Board(tuple(candidates), rates, asked > 0).sorted()

    def __len__(self) -> int:
        return len(self.candidates)

    def rows(self, indices: Sequence[int]) -> Board:
        """The board of some of the candidates, in the given order."""
        picked = list(indices)
        return Board(
            tuple(self.candidates[i] for i in picked), self.rates[picked], self.graded[picked]
        )

    def sorted(self) -> Board:
        """The same board in canonical order."""
        fitness, lead = self.fitness(), self.lead()
        order = sorted(
            range(len(self)),
            key=lambda i: (-fitness[i], -int(lead[i]), self.candidates[i].seniority),
        )
        return self.rows(order)

    @property
    def lacks(self) -> Counts:
        """(candidates, families) what a rate lacks to 1; 0 where it is missing."""
        lacks: Counts = (GRID - self.rates) * self.graded
        return lacks

    def fails(self) -> Counts:
        """(families,) number of candidates that fail each family, in units of 1 / GRID."""
        counts: Counts = self.lacks.sum(axis=0)
        return counts

    def lead(self) -> Counts:
        """(candidates,) how far each is ahead of all others, summed over families."""
        nobody = np.zeros((2, self.rates.shape[1]), np.int64)
        second, best = np.partition(np.concatenate([self.rates, nobody]), -2, axis=0)[-2:]
        lead: Counts = np.where(self.rates == best, best - second, 0).sum(axis=1)
        return lead

    def fitness(self) -> list[Fraction]:
        """Mean rate over the graded entries, exactly; 0 if nothing is graded."""
        sums, graded = self.rates.sum(axis=1), self.graded.sum(axis=1)
        return [Fraction(int(p), GRID * max(int(g), 1)) for p, g in zip(sums, graded, strict=True)]

    def split_duplicates(self) -> tuple[list[int], list[int]]:
        """Rows that compete, and rows that equal those of an older one."""
        oldest: dict[bytes, int] = {}
        for row in sorted(range(len(self)), key=lambda i: self.candidates[i].seniority):
            entries = self.rates[row].tobytes() + self.graded[row].tobytes()
            oldest.setdefault(entries, row)
        competing = set(oldest.values())
        everyone = range(len(self))
        return (
            [row for row in everyone if row in competing],
            [row for row in everyone if row not in competing],
        )


def counts(candidates: Sequence[Candidate], families: Sequence[str]) -> Counts:
    """(2, candidates, families) passes and graded instances, 0 of 0 where the entry is missing."""
    pairs = np.zeros((len(candidates), len(families), 2), np.int64)
    for row, candidate in enumerate(candidates):
        entries = map(_pair, map(candidate.skills.get, families))
        pairs[row].flat = np.fromiter(chain.from_iterable(entries), np.int64, 2 * len(families))
    return pairs.transpose(2, 0, 1)


def _pair(skill: Skill | bool | None) -> tuple[int, int]:
    if skill is None:
        return (0, 0)
    return (skill.passes, skill.asked) if isinstance(skill, Skill) else (int(skill), 1)


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
