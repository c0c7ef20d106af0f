"""Coverage: what at least one of several experts solves, and the task force that maximises it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from memory.records import Skills


@dataclass(frozen=True)
class TaskForce:
    """Experts in the order in which they were chosen.

    Attributes:
        coverage: share covered by the first 1, 2, .. N experts.
    """

    experts: tuple[str, ...]
    coverage: tuple[float, ...]


@dataclass(frozen=True)
class Passes:
    """Skill vectors as bit masks: bit i stands for the i-th family that any expert was graded on.

    A missing entry passes nothing. A family on which no expert was graded counts as no failure
    and has no bit, so the denominator is the same for all choices of experts.

    Attributes:
        masks: expert -> passed families, in the order in which the experts were given.
        fitness: expert -> share of passes among its graded entries.
        families: how many bits there are.
    """

    masks: Mapping[str, int]
    fitness: Mapping[str, Fraction]
    families: int

    @classmethod
    def of(cls, skills: Mapping[str, Skills], families: Iterable[str]) -> Passes:
        """Read skill vectors; what they say of other families is left out."""
        graded = set[str]().union(*skills.values())
        gradable = [family for family in dict.fromkeys(families) if family in graded]
        masks, fitness = {}, {}
        for expert, vector in skills.items():
            row = np.fromiter((bool(vector.get(f)) for f in gradable), np.bool_, len(gradable))
            masks[expert] = int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")
            entries = sum(family in vector for family in gradable)
            fitness[expert] = Fraction(int(row.sum()), max(entries, 1))
        return cls(masks, fitness, len(gradable))

    def share(self, mask: int) -> float:
        """Share of the families in a mask."""
        return mask.bit_count() / max(self.families, 1)

    def union(self, experts: Iterable[str]) -> int:
        """What at least one of the experts passes."""
        mask = 0
        for expert in experts:
            mask |= self.masks[expert]
        return mask

    def force(self, experts: Sequence[str]) -> TaskForce:
        """A task force of these experts in this order."""
        shares = tuple(self.share(self.union(experts[: n + 1])) for n in range(len(experts)))
        return TaskForce(tuple(experts), shares)


def coverage(
    skills: Mapping[str, Skills], experts: Iterable[str], families: Iterable[str]
) -> float:
    """Share of families that at least one of the experts passes; see `Passes` on missing ones."""
    passes = Passes.of(skills, families)
    return passes.share(passes.union(experts))


def task_force(
    skills: Mapping[str, Skills], families: Iterable[str], n: int, forced: Sequence[str] = ()
) -> TaskForce:
    """The greedy task force: at each step the expert that covers most of what is left.

    Greedy choice reaches at least 1 - 1/e of the best possible Coverage (Nemhauser, Wolsey and
    Fisher, 1978), and every prefix of a greedy force is the greedy force of its size. Once nothing
    is left to cover, the remaining places cover everything anew: a family that two experts pass is
    the surer to be passed when it is asked afresh. Ties go to the fitter expert, then to the one
    that stands earlier in `skills`.

    Args:
        skills: expert -> skill vector.
        families: on which Coverage is measured.
        n: how many; fewer are chosen if there are fewer.
        forced: experts that are in it whatever they cover (the paper forces seeds in); the first
            ones in this order, as far as there are places.

    Raises:
        KeyError: a forced expert has no skill vector.
    """
    passes = Passes.of(skills, families)
    return passes.force(greedy(passes, n, forced))


def greedy(passes: Passes, n: int, forced: Sequence[str] = ()) -> tuple[str, ...]:
    """The choice of `task_force`."""
    chosen = list(dict.fromkeys(forced))[:n]
    covered = passes.union(chosen)
    while len(chosen) < min(n, len(passes.masks)):
        layer = _layer(passes, chosen, covered, n - len(chosen))
        if not layer and not covered:
            # None of those left passes anything.
            layer = [expert for expert in passes.masks if expert not in chosen]
        chosen += layer
        covered = 0
    return tuple(chosen[:n])


def _layer(passes: Passes, chosen: Sequence[str], covered: int, room: int) -> list[str]:
    """Experts that add to what is covered, the one that adds most first, until none adds anything.

    Lazily: a gain only ever shrinks (Minoux, 1978), so an expert's last known gain bounds its
    present one, and one that leads the queue with a gain that is up to date leads for certain,
    ties included.
    """
    queue = [
        (-(mask & ~covered).bit_count(), -passes.fitness[expert], place, expert)
        for place, (expert, mask) in enumerate(passes.masks.items())
        if expert not in chosen
    ]
    heapq.heapify(queue)
    layer: list[str] = []
    while queue and queue[0][0] < 0 and len(layer) < room:
        known, fitness, place, expert = queue[0]
        gain = (passes.masks[expert] & ~covered).bit_count()
        if gain == -known:
            heapq.heappop(queue)
            layer.append(expert)
            covered |= passes.masks[expert]
        else:
            heapq.heapreplace(queue, (-gain, fitness, place, expert))
    return layer
