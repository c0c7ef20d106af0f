"""Coverage: what at least one of several experts solves, and the task force that maximises it.

Where experts have pass rates p, one of them solves an instance of a family with probability
1 - prod(1 - p), as if they failed independently of each other; of closed families, which are passed
or failed, that is whether at least one passes. Rates are taken as they are: over several experts,
those that are drawn towards a mean would add up to more than anybody was seen to solve.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evolution.selection.rates import Floats
from memory.records import Skill, rate_of

Vector = Mapping[str, Skill | float]
"""Skills of one expert: counts, verdicts or pass rates. An absent family is missing."""


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
    """Pass rates on the families that any expert was graded on.

    A missing entry passes nothing. A family on which no expert was graded counts as no failure
    and has no place, so the denominator is the same for all choices of experts.

    Attributes:
        rates: expert -> (families,) pass rates, in the order in which the experts were given.
        fitness: expert -> mean rate over its graded entries.
        families: how many places there are.
    """

    rates: Mapping[str, Floats]
    fitness: Mapping[str, float]
    families: int

    @classmethod
    def of(cls, skills: Mapping[str, Vector], families: Iterable[str]) -> Passes:
        """Read skill vectors; what they say of other families is left out."""
        graded = set[str]().union(*skills.values())
        gradable = [family for family in dict.fromkeys(families) if family in graded]
        rates, fitness = {}, {}
        for expert, vector in skills.items():
            found = [rate_of(vector.get(family, 0.0)) for family in gradable]
            entries = sum(family in vector for family in gradable)
            rates[expert] = np.array(found)
            fitness[expert] = math.fsum(found) / max(entries, 1)
        return cls(rates, fitness, len(gradable))

    def missed(self, experts: Iterable[str]) -> Floats:
        """(families,) probability that none of the experts passes."""
        missed = np.ones(self.families)
        for expert in experts:
            missed *= 1 - self.rates[expert]
        return missed

    def share(self, experts: Iterable[str]) -> float:
        """Share of the families that at least one of the experts passes."""
        return math.fsum(1 - self.missed(experts)) / max(self.families, 1)

    def force(self, experts: Sequence[str]) -> TaskForce:
        """A task force of these experts in this order."""
        shares = tuple(self.share(experts[: n + 1]) for n in range(len(experts)))
        return TaskForce(tuple(experts), shares)


def coverage(
    skills: Mapping[str, Vector], experts: Iterable[str], families: Iterable[str]
) -> float:
    """Share of families that at least one of the experts passes; see `Passes` on missing ones."""
    return Passes.of(skills, families).share(experts)


def task_force(
    skills: Mapping[str, Vector], families: Iterable[str], n: int, forced: Sequence[str] = ()
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
    missed = passes.missed(chosen)
    while len(chosen) < min(n, len(passes.rates)):
        layer = _layer(passes, chosen, missed, n - len(chosen))
        if not layer and missed.all():
            # None of those left passes anything.
            layer = [expert for expert in passes.rates if expert not in chosen]
        chosen += layer
        missed = passes.missed([])
    return tuple(chosen[:n])


def _layer(passes: Passes, chosen: Sequence[str], missed: Floats, room: int) -> list[str]:
    """Experts that add to what is covered, the one that adds most first, until none adds anything.

    Lazily: a gain only ever shrinks (Minoux, 1978), so an expert's last known gain bounds its
    present one, and one that leads the queue with a gain that is up to date leads for certain,
    ties included.
    """
    queue = [
        (-math.fsum(rates * missed), -passes.fitness[expert], place, expert)
        for place, (expert, rates) in enumerate(passes.rates.items())
        if expert not in chosen
    ]
    heapq.heapify(queue)
    layer: list[str] = []
    while queue and queue[0][0] < 0 and len(layer) < room:
        known, fitness, place, expert = queue[0]
        gain = math.fsum(passes.rates[expert] * missed)
        if gain == -known:
            heapq.heappop(queue)
            layer.append(expert)
            missed = missed * (1 - passes.rates[expert])
        else:
            heapq.heapreplace(queue, (-gain, fitness, place, expert))
    return layer
