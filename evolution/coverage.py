"""Coverage: what at least one of several experts solves, and the task force that maximises it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from memory.records import Skills


@dataclass(frozen=True)
class TaskForce:
    """Experts in the order in which they were chosen, so that every prefix is a task force too.

    Attributes:
        coverage: share covered by the first 1, 2, .. N experts.
    """

    experts: tuple[str, ...]
    coverage: tuple[float, ...]


def coverage(
    skills: Mapping[str, Skills], experts: Iterable[str], families: Iterable[str]
) -> float:
    """Share of families that at least one of the experts passes.

    A missing entry covers nothing. A family on which nobody in `skills` was graded is no failure of
    anybody's and stays out of the share; the denominator is the same for all choices of experts.
    """
    gradable = _gradable(skills, families)
    covered = set[str]().union(*(_passed(skills[expert], gradable) for expert in experts))
    return len(covered) / max(len(gradable), 1)


def task_force(skills: Mapping[str, Skills], families: Iterable[str], n: int) -> TaskForce:
    """The greedy task force: at each step the expert that covers most of what is left.

    Greedy choice reaches at least 1 - 1/e of the best possible Coverage (Nemhauser, Wolsey and
    Fisher, 1978). Ties go to the fitter expert, then to the one that stands earlier in `skills`;
    so once nothing is left to cover, the fittest fill the remaining places.

    Args:
        skills: expert -> skill vector.
        families: on which Coverage is measured.
        n: how many; fewer are chosen if there are fewer.
    """
    gradable = _gradable(skills, families)
    waiting = {expert: _passed(vector, gradable) for expert, vector in skills.items()}
    fitness = {expert: _fitness(skills[expert], gradable) for expert in skills}
    chosen: list[str] = []
    shares: list[float] = []
    covered: set[str] = set()
    while waiting and len(chosen) < n:
        # max() keeps the first of equals: the one that stands earlier.
        best = max(waiting, key=lambda e: (len(waiting[e] - covered), fitness[e]))
        covered |= waiting.pop(best)
        chosen.append(best)
        shares.append(len(covered) / max(len(gradable), 1))
    return TaskForce(tuple(chosen), tuple(shares))


def _gradable(skills: Mapping[str, Skills], families: Iterable[str]) -> list[str]:
    graded = set[str]().union(*skills.values())
    return [family for family in dict.fromkeys(families) if family in graded]


def _passed(vector: Skills, families: Sequence[str]) -> set[str]:
    return {family for family in families if vector.get(family)}


def _fitness(vector: Skills, families: Sequence[str]) -> Fraction:
    graded = [family for family in families if family in vector]
    return Fraction(sum(vector[family] for family in graded), max(len(graded), 1))
