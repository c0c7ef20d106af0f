"""Coverage: what at least one of several experts solves, and the task force that maximises it.

Where experts have pass rates p, one of them solves an instance of a family with probability
1 - prod(1 - p), as if they failed independently of each other; of closed families, which are passed
or failed, that is whether at least one passes. Rates are taken as they are: over several experts,
those that are drawn towards a mean would add up to more than anybody was seen to solve.

All of it holds for whoever answers, be it an expert or a voice (see `voices`), and for places that
are families or weighted instances of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from evolution.selection.rates import Floats
from memory.records import Skill, rate_of

Vector = Mapping[str, Skill | float]
"""Skills of one expert: counts, verdicts or pass rates. An absent family is missing."""
Who = TypeVar("Who", bound=Hashable)
"""Who answers: an expert by its id, or a voice."""


@dataclass(frozen=True)
class TaskForce(Generic[Who]):
    """Experts, or voices, in the order in which they were chosen.

    Attributes:
        coverage: share covered by the first 1, 2, .. N of them.
    """

    experts: tuple[Who, ...]
    coverage: tuple[float, ...]


@dataclass(frozen=True)
class Passes(Generic[Who]):
    """Pass rates at the places that anybody was graded at.

    A missing entry passes nothing. A place at which nobody was graded counts as no failure and is
    none, so the denominator is the same for all choices.

    Attributes:
        rates: who -> (places,) pass rates, in the order in which they were given.
        fitness: who -> mean rate over what it was graded on; it breaks ties.
        weights: (places,) what each counts, above 0.
    """

    rates: Mapping[Who, Floats]
    fitness: Mapping[Who, float]
    weights: Floats

    @staticmethod
    def of(skills: Mapping[Who, Vector], families: Iterable[str]) -> Passes[Who]:
        """Read skill vectors; every family is a place, and what they say of others is left out."""
        graded = set[str]().union(*skills.values())
        gradable = [family for family in dict.fromkeys(families) if family in graded]
        rates, fitness = {}, {}
        for who, vector in skills.items():
            found = [rate_of(vector.get(family, 0.0)) for family in gradable]
            entries = sum(family in vector for family in gradable)
            rates[who] = np.array(found)
            fitness[who] = math.fsum(found) / max(entries, 1)
        return Passes(rates, fitness, np.ones(len(gradable)))

    def among(self, some: Iterable[Who]) -> Passes[Who]:
        """The same places with some of those who answered, in the order in which they are named."""
        rates = {who: self.rates[who] for who in some if who in self.rates}
        return Passes(rates, {who: self.fitness[who] for who in rates}, self.weights)

    def left(self, chosen: Iterable[Who]) -> Floats:
        """(places,) weights times the probability that none of the chosen passes."""
        left = self.weights.copy()
        for who in chosen:
            left *= 1 - self.rates[who]
        return left

    def share(self, chosen: Iterable[Who]) -> float:
        """Share of the places, by weight, at which at least one of the chosen passes.

        Whoever is named twice answers twice.
        """
        covered = math.fsum(self.weights - self.left(chosen))
        return covered / math.fsum(self.weights) if len(self.weights) else 0.0

    def force(self, chosen: Sequence[Who]) -> TaskForce[Who]:
        """A task force of these, in this order."""
        shares = tuple(self.share(chosen[: n + 1]) for n in range(len(chosen)))
        return TaskForce(tuple(chosen), shares)


def coverage(
    skills: Mapping[Who, Vector], experts: Iterable[Who], families: Iterable[str]
) -> float:
    """Share of families that at least one of the experts passes; see `Passes` on missing ones."""
    return Passes.of(skills, families).share(experts)


def task_force(
    skills: Mapping[Who, Vector], families: Iterable[str], n: int, forced: Sequence[Who] = ()
) -> TaskForce[Who]:
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


def greedy(
    passes: Passes[Who], n: int, forced: Sequence[Who] = (), repeatable: Collection[Who] = ()
) -> tuple[Who, ...]:
    """The choice of `task_force`.

    Args:
        passes: among whom is chosen.
        n: how many; fewer are chosen if there are fewer and none of them is repeatable.
        forced: those that come first.
        repeatable: those whose answers differ from one time to the next: they may be chosen again,
            and pass as often as they did.
    """
    again = frozenset(who for who in passes.rates if who in repeatable)
    chosen = list(dict.fromkeys(forced))[:n]
    left = passes.left(chosen)
    while len(chosen) < (n if again else min(n, len(passes.rates))):
        layer = _layer(passes, chosen, left, n - len(chosen), again)
        if not layer and left.all():
            # None of those that may be chosen passes anything.
            layer = [who for who in passes.rates if who in again or who not in chosen]
        chosen += layer
        left = passes.left([])
    return tuple(chosen[:n])


def _layer(
    passes: Passes[Who], chosen: Sequence[Who], left: Floats, room: int, again: Collection[Who]
) -> list[Who]:
    """Those that add to what is covered, the one that adds most first, until none adds anything.

    Lazily: a gain only ever shrinks (Minoux, 1978), so the last known gain of each bounds its
    present one, and one that leads the queue with a gain that is up to date leads for certain,
    ties included.
    """
    queue = [
        (-math.fsum(rates * left), -passes.fitness[who], place, who)
        for place, (who, rates) in enumerate(passes.rates.items())
        if who in again or who not in chosen
    ]
    heapq.heapify(queue)
    layer: list[Who] = []
    while queue and queue[0][0] < 0 and len(layer) < room:
        known, fitness, place, who = queue[0]
        gain = math.fsum(passes.rates[who] * left)
        if gain != -known:
            heapq.heapreplace(queue, (-gain, fitness, place, who))
            continue
        layer.append(who)
        left = left * (1 - passes.rates[who])
        if who not in again:
            heapq.heappop(queue)
    return layer
