"""Who passes what, as a matrix: experts by families, by their latest grades."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from console.view.source import Run
from memory.errors import StoreError
from memory.records import Skill

Floats = NDArray[np.float64]

_COUNTS = "SELECT expert, family, passes, asked FROM skills ORDER BY expert, family, period"


@dataclass(frozen=True)
class SkillMatrix:
    """Pass rates.

    Attributes:
        experts: ids, the oldest first.
        families: ids, in the order in which they were accepted.
        rates: (experts, families) share of instances that are passed; NaN where not graded.
        passes: (experts, families) how many are passed, `asked` of how many; 0 where not graded.
    """

    experts: Sequence[str]
    families: Sequence[str]
    rates: Floats
    passes: NDArray[np.int64]
    asked: NDArray[np.int64]

    @classmethod
    def of(cls, run: Run) -> SkillMatrix:
        """Of everybody and everything in a run."""
        matrix: SkillMatrix = run.kept("skills", cls._read)
        return matrix

    @classmethod
    def _read(cls, run: Run) -> SkillMatrix:
        experts = _ids(run, "experts ORDER BY generation, birth, id")
        families = _ids(run, "families ORDER BY seq")
        _, counts = run.store.table(_COUNTS)
        passes = np.zeros((len(experts), len(families)), dtype=np.int64)
        asked = np.zeros_like(passes)
        if counts:
            of, on, passed, put = zip(*counts, strict=True)
            row, column = _numbered(experts), _numbered(families)
            try:
                places = [row[name] for name in of], [column[name] for name in on]
                # Of several periods the latest stands last, and stays.
                passes[places], asked[places] = passed, put
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(f"{run.store.path} is damaged in table skills: {error}") from error
        with np.errstate(invalid="ignore"):
            rates = np.where(asked > 0, passes / np.maximum(asked, 1), np.nan)
        return cls(experts, families, rates, passes, asked)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Expert -> its row."""
        return _numbered(self.experts)

    @cached_property
    def column_of(self) -> dict[str, int]:
        """Family -> its column."""
        return _numbered(self.families)

    @cached_property
    def graded(self) -> NDArray[np.bool_]:
        """(families,) whether anybody was graded on it."""
        return np.asarray((self.asked > 0).any(axis=0), dtype=np.bool_)

    def rows(self, experts: Iterable[str]) -> list[int]:
        """The rows of some experts."""
        return [self.row_of[name] for name in experts if name in self.row_of]

    def columns(self, families: Iterable[str]) -> list[int]:
        """The columns of some families."""
        return [self.column_of[name] for name in families if name in self.column_of]

    def skills(self, expert: str) -> dict[str, Skill]:
        """Family -> what an expert passes of it, of those that it was graded on."""
        row = self.row_of[expert]
        counts = zip(
            self.families, self.passes[row].tolist(), self.asked[row].tolist(), strict=True
        )
        return {name: Skill(passes=passes, asked=asked) for name, passes, asked in counts if asked}

    def mean_by_family(self, rows: Sequence[int]) -> Floats:
        """(families,) mean rate of some experts over those that are graded; NaN where none is."""
        return mean_of(self.rates[list(rows)], axis=0)

    def asked_of_all(self, rows: Sequence[int], columns: Sequence[int]) -> list[int]:
        """Those of some families on which every one of some experts was graded."""
        if not rows:
            return []
        known = set(np.flatnonzero((self.asked[list(rows)] > 0).all(axis=0)).tolist())
        return [place for place in columns if place in known]

    def coverage(self, rows: Sequence[int], columns: Sequence[int]) -> float | None:
        """How likely one of some experts solves an instance, mean over families.

        Of a family 1 - product(1 - pass rate), as if experts were right independently. An expert
        that was not asked solves nothing, so experts are compared on what all of them were asked.
        Families on which nobody at all was graded do not count.
        """
        graded = [place for place in columns if self.graded[place]]
        if not graded or not rows:
            return None
        rates = np.nan_to_num(self.rates[np.ix_(list(rows), graded)])
        return float((1 - np.prod(1 - rates, axis=0)).mean())

    def alone(self, row: int, others: Sequence[int]) -> list[str]:
        """Families of which an expert passes more than half, and none of the others does."""
        rest = np.nan_to_num(self.rates[[other for other in others if other != row]])
        lonely = (self.rates[row] > 0.5) & ~(rest > 0.5).any(axis=0)
        return [self.families[place] for place in np.flatnonzero(lonely).tolist()]


def mean_of(values: Floats, axis: int) -> Floats:
    """Mean over an axis of what is no NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis)
    return found


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _ids(run: Run, rest: str) -> list[str]:
    return [row["id"] for row in run.rows(f"SELECT id FROM {rest}")]


def archives(run: Run) -> dict[int, list[str]]:
    """Generation -> the experts of its archive by rank."""
    found: dict[int, list[str]] = {}
    for row in run.rows("SELECT generation, expert FROM archive_entries ORDER BY generation, rank"):
        found.setdefault(row["generation"], []).append(row["expert"])
    return found


def latest_archive(run: Run) -> list[str]:
    """The experts of the latest archive by rank; the founders before the first selection."""
    newest = run.value("SELECT MAX(generation) FROM archives")
    if newest is None:
        return _ids(run, "experts WHERE generation = 0 ORDER BY birth")
    sql = "SELECT expert FROM archive_entries WHERE generation = ? ORDER BY rank"
    return [row["expert"] for row in run.rows(sql, newest)]


def pools(run: Run, times: Sequence[float]) -> list[list[str]]:
    """Which families graded at some moments.

    Args:
        run: of which.
        times: seconds since the epoch, in order.
    """
    events = run.rows("SELECT family, at, status FROM family_events ORDER BY at, seq")
    found, now, place = [], dict[str, None](), 0
    for moment in times:
        while place < len(events) and events[place]["at"] <= moment:
            family, status = events[place]["family"], events[place]["status"]
            now |= {family: None}
            if status != "active":
                del now[family]
            place += 1
        found.append(list(now))
    return found
