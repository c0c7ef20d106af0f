"""Voices: a task force of experts at temperatures, in which a sampled one may stand twice.

Whoever answers N times may also let one expert answer several times, and for a few good experts
that is what covers most ("Large Language Monkeys", Brown et al., 2024). Of every voice the share p
of right answers is known, instance by instance; N voices solve an instance with probability
1 - prod(1 - p). Greedily chosen, a greedy voice stands in a force once and a sampled one as often
as it pays. The seeds resampled, which is what one has without evolution, are a point of the same
space, and taken where greedy choice finds none better: on what it is chosen on, no force is behind
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from evolution.selection.coverage import Passes, Vector, greedy
from memory.records import Outcome, Voice, rate_of

Place = tuple[str, str]
"""Family and instance; the instance is "" where a rate is known of the family alone."""


@dataclass(frozen=True)
class Force:
    """A task force of voices.

    Attributes:
        voices: who answers; a sampled voice may be there several times.
        coverage: share of what it was chosen on that at least one of them solves.
    """

    voices: tuple[Voice, ...]
    coverage: float


@dataclass(frozen=True)
class Standing:
    """What voices pass.

    Attributes:
        marks: voice -> place -> share of its answers there that are right. An absent place is
            missing.
    """

    marks: Mapping[Voice, Mapping[Place, float]] = field(default_factory=dict)

    @classmethod
    def heard(cls, outcomes: Iterable[Outcome]) -> Standing:
        """From what came of single instances."""
        marks: dict[Voice, dict[Place, float]] = {}
        for each in outcomes:
            place = (each.family, each.instance)
            marks.setdefault(each.voice, {})[place] = each.passes / each.asked
        return cls(marks)

    @classmethod
    def graded(cls, skills: Mapping[str, Vector]) -> Standing:
        """From skill vectors: every family counts as one place, and experts are greedy."""
        return cls(
            {
                Voice(expert): {(family, ""): rate_of(skill) for family, skill in vector.items()}
                for expert, vector in skills.items()
            }
        )

    def common(self) -> Standing:
        """On those places alone on which every voice was graded: what is missing is no failure."""
        places = set.intersection(*map(set, self.marks.values())) if self.marks else set()
        return Standing(
            {v: {p: m for p, m in marks.items() if p in places} for v, marks in self.marks.items()}
        )

    def joined(self, other: Standing) -> Standing:
        """Together with voices that answered to the same."""
        return Standing({**self.marks, **other.marks})

    def among(self, experts: Iterable[str]) -> Standing:
        """Of some experts alone, in the order in which they are named."""
        order = {expert: place for place, expert in enumerate(experts)}
        ours = [voice for voice in self.marks if voice.expert in order]
        ours.sort(key=lambda voice: (order[voice.expert], voice.temperature))
        return Standing({voice: self.marks[voice] for voice in ours})

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Everything that anybody was graded on."""
        return tuple(sorted(set[Place]().union(*self.marks.values())))

    @cached_property
    def rates(self) -> Mapping[Voice, Mapping[str, float]]:
        """Voice -> family -> mean over the instances that are graded."""
        return {voice: _by_family(marks) for voice, marks in self.marks.items()}

    @cached_property
    def passes(self) -> Passes[Voice]:
        """What a force is chosen by; of each family, the instances together weigh 1."""
        instances: dict[str, int] = {}
        for family, _ in self.places:
            instances[family] = instances.get(family, 0) + 1
        weights = np.array([1 / instances[family] for family, _ in self.places])
        rates = {
            voice: np.array([marks.get(place, 0.0) for place in self.places])
            for voice, marks in self.marks.items()
        }
        return Passes(rates, {voice: self.fitness(voice) for voice in self.marks}, weights)

    def known(self, voice: Voice) -> Mapping[str, float]:
        """Family -> rate of a voice; of one that never answered, those of the expert greedily."""
        return self.rates.get(voice) or self.rates.get(Voice(voice.expert)) or {}

    def fitness(self, voice: Voice) -> float:
        """Mean over families of the rate; 0 if nothing is known."""
        rates = self.known(voice)
        return math.fsum(rates.values()) / max(len(rates), 1)

    @cached_property
    def greedy(self) -> tuple[Voice, ...]:
        """Those that answer greedily."""
        return tuple(voice for voice in self.marks if voice.greedy)

    @cached_property
    def sampled(self) -> tuple[Voice, ...]:
        """Those that answer at a temperature."""
        return tuple(voice for voice in self.marks if not voice.greedy)

    def order(self, experts: Iterable[str], first: Sequence[str] = ()) -> tuple[str, ...]:
        """Experts in the order of their own greedy force, each once.

        Args:
            experts: of whom it is known how they answer greedily.
            first: those of them that come first whatever they cover.
        """
        ours = self.passes.among(map(Voice, experts))
        return tuple(v.expert for v in greedy(ours, len(ours.rates), [Voice(e) for e in first]))

    def alone(self, n: int) -> Force:
        """N different experts, each greedily; fewer if there are fewer."""
        chosen = greedy(self.passes.among(self.greedy), n)
        return Force(chosen, self.passes.share(chosen))

    def force(self, n: int, seeds: Sequence[str]) -> Force:
        """N voices, which here cover at least as much as the seeds resampled or N greedy experts.

        Nor do they cover less than a smaller force.

        Args:
            n: how many; fewer are chosen if there are fewer and none of them is sampled.
            seeds: who resamples in the baseline.
        """
        chosen = greedy(self.passes, n, repeatable=self.sampled)
        best: Force | None = None
        for size in range(1, len(chosen) + 1):
            others = [self.resampled(size, seeds), self.alone(size)]
            if best is not None:
                others.append(self._with_one_more(best))
            best = Force(chosen[:size], self.passes.share(chosen[:size]))
            # Greedy choice may miss them, though they are made of the same voices.
            for other in others:
                if other is not None and len(other.voices) == size:
                    best = max(best, other, key=lambda each: each.coverage)
        return best or Force((), 0.0)

    def _with_one_more(self, force: Force) -> Force | None:
        """A force and the voice that adds most to it."""
        left = self.passes.left(force.voices)
        can = [voice for voice in self.marks if not voice.greedy or voice not in force.voices]
        if not can:
            return None
        added = max(can, key=lambda voice: math.fsum(self.passes.rates[voice] * left))
        voices = (*force.voices, added)
        return Force(voices, self.passes.share(voices))

    def resampled(self, n: int, seeds: Sequence[str]) -> Force | None:
        """N answers of the seeds without evolution; None where that was not heard."""
        order = self.order(seeds)
        temperatures = [v.temperature for v in self.sampled if v.expert in order]
        voices = evenly(order, n, max(temperatures, default=0.0))
        if len(voices) < n or any(voice not in self.marks for voice in voices):
            return None
        if n > len(order) and not temperatures:
            return None
        return Force(voices, self.passes.share(voices))


def evenly(experts: Sequence[str], n: int, temperature: float) -> tuple[Voice, ...]:
    """N answers in even splits: each expert answers greedily once, then all are sampled in turn.

    Args:
        experts: in the order of their own greedy force, so that for an n below their number the
            ones that cover most together answer.
        n: how many; none if there is no expert.
        temperature: at which they are sampled.
    """
    if not experts:
        return ()
    return tuple(
        Voice(experts[place % len(experts)], temperature if place >= len(experts) else 0.0)
        for place in range(n)
    )


def _by_family(marks: Mapping[Place, float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for (family, _), rate in marks.items():
        found.setdefault(family, []).append(rate)
    return {family: math.fsum(rates) / len(rates) for family, rates in found.items()}
