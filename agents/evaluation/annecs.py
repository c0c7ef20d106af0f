"""ANNECS: does the run go on to make new challenges that it then masters?

The accumulated number of novel environments created and solved (Wang et al., "Enhanced POET", 2020,
section 4): an environment counts if it was novel, neither solved already by any agent generated so
far, and is eventually solved by the system, so that there is no credit for challenges that nobody
can master. Here an environment is a family; novel it is by having been accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memory.records import Expert, Family, Skills


@dataclass(frozen=True)
class Annecs:
    """What became of the families.

    Attributes:
        solved: family -> generation of the first expert that solved it, of those that count.
        too_easy: families that an expert solved which was there before them.
        unsolved: families that nobody solved yet.
        unknown: families on which no earlier expert was graded.
        by_generation: generation -> the number so far.
    """

    solved: Mapping[str, int]
    too_easy: tuple[str, ...]
    unsolved: tuple[str, ...]
    unknown: tuple[str, ...]
    by_generation: Mapping[int, int]

    @property
    def total(self) -> int:
        """The number at the end."""
        return len(self.solved)


def annecs(
    families: Iterable[Family], experts: Iterable[Expert], skills: Mapping[str, Skills]
) -> Annecs:
    """Count the families that were new, hard when they came, and solved later.

    An expert was there before a family if it was born in an earlier generation, or is a founder:
    the families of a generation are accepted before its children are bred. A family that left the
    pool ungraded by all of them may have been easy; it does not count.

    Args:
        families: all that were ever accepted.
        experts: all that ever lived.
        skills: expert -> skill vector on all families.
    """
    born = {expert.id: expert.generation for expert in experts}
    solved: dict[str, int] = {}
    too_easy: list[str] = []
    unsolved: list[str] = []
    unknown: list[str] = []
    for family in families:
        before: list[bool] = []
        solvers: list[int] = []
        for expert, generation in born.items():
            passed = skills.get(expert, {}).get(family.id)
            if passed is None:
                continue
            if generation < max(family.generation, 1):
                before.append(passed)
            elif passed:
                solvers.append(generation)
        if any(before):
            too_easy.append(family.id)
        elif not before:
            unknown.append(family.id)
        elif solvers:
            solved[family.id] = min(solvers)
        else:
            unsolved.append(family.id)
    last = max(born.values(), default=-1)
    curve = {g: sum(when <= g for when in solved.values()) for g in range(last + 1)}
    return Annecs(solved, tuple(too_easy), tuple(unsolved), tuple(unknown), curve)
