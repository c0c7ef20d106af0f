"""Who is compared: the force and its baselines, all with the same number of answers.

Everything that is chosen is chosen on what the run itself has asked, never on the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.context import ReadContext
from agents.judge.examiner import Answerer
from agents.task_force.field import resampled_seeds
from evolution.breeding.breed import random_genome
from evolution.genome.genome import Genome
from evolution.selection import Standing
from evolution.selection.voices import evenly
from memory.hashing import json_hash
from memory.randomness import derive_seed
from memory.records import Voice


@dataclass(frozen=True)
class Contender:
    """Somebody who can answer.

    Attributes:
        answerer: who answers in its place; None for the engine of the run.
    """

    name: str
    genome_id: str
    genome: Genome
    answerer: Answerer | None = None


@dataclass(frozen=True)
class Seat:
    """One of a row's N answers to each task.

    Attributes:
        sample: which answer of that contender at that temperature; 0 where it is greedy.
    """

    contender: Contender
    temperature: float = 0.0
    sample: int = 0

    @property
    def voice(self) -> Voice:
        """Who answers, and how."""
        return Voice(self.contender.name, self.temperature)


@dataclass(frozen=True)
class Line:
    """One way of answering with N answers per task."""

    name: str
    seats: tuple[Seat, ...]

    @property
    def n(self) -> int:
        """Answers per task."""
        return len(self.seats)

    @property
    def sampling(self) -> str:
        """How its tokens are drawn, in words."""
        warm = [seat.temperature for seat in self.seats if seat.temperature > 0]
        if not warm:
            return "greedy"
        drawn = f"T = {', '.join(f'{each:g}' for each in sorted(set(warm)))}"
        cold = self.n - len(warm)
        return f"{cold} greedy, {len(warm)} at {drawn}" if cold else drawn


@dataclass(frozen=True)
class Company:
    """Contenders, and what is known of them.

    Attributes:
        by_name: who they are.
        standing: on what rows are chosen.
        temperature: at which a model answers more than once.
    """

    by_name: Mapping[str, Contender]
    standing: Standing
    temperature: float

    def joined(self, others: Iterable[Contender], standing: Standing) -> Company:
        """Together with others, who answered to the same."""
        by_name = {**self.by_name, **{each.name: each for each in others}}
        return Company(by_name, self.standing.joined(standing), self.temperature)

    def line(self, name: str, voices: Sequence[Voice]) -> Line:
        """A row of these voices; one that stands there again gives another sample."""
        return Line(
            name,
            tuple(
                Seat(self.by_name[voice.expert], voice.temperature, voices[:place].count(voice))
                for place, voice in enumerate(voices)
            ),
        )

    def forces(
        self, name: str, among: Iterable[str], sizes: Iterable[int], seeds: Sequence[str]
    ) -> list[Line]:
        """Forces of voices of some contenders.

        A size for which there are too few is left out, since N must be equal.
        """
        standing = self.standing.among(among)
        return self._of_size(name, {n: standing.force(n, seeds).voices for n in sizes})

    def greedy_forces(self, name: str, among: Iterable[str], sizes: Iterable[int]) -> list[Line]:
        """Forces of different contenders, each greedily; sizes as in `forces`."""
        standing = self.standing.among(among)
        return self._of_size(name, {n: standing.alone(n).voices for n in sizes})

    def _of_size(self, name: str, chosen: Mapping[int, tuple[Voice, ...]]) -> list[Line]:
        return [self.line(name, voices) for n, voices in chosen.items() if len(voices) == n]


def contenders(context: ReadContext, names: Iterable[str]) -> list[Contender]:
    """Experts of a run."""
    found = []
    for name in names:
        expert = context.store.expert(name)
        found.append(Contender(name, expert.genome_id, context.genome(expert)))
    return found


async def random_contenders(context: ReadContext, count: int) -> list[Contender]:
    """Random genomes over the run's bank, within the same bounds, without evolution.

    All merges that the run has grafted are theirs too, but no lessons: those have a baseline of
    their own. They separate search from selection: a
    force chosen among them and the founders that nobody bred, in the same way and on the same
    instances, had the same luck of the draw.

    Args:
        context: the run.
        count: how many.
    """
    bank = await context.population.bank()
    whole = [context.genome(expert) for expert in context.store.experts() if expert.is_merge]
    merges = [np.flatnonzero(genome.coefficients.any(axis=0)).tolist() for genome in whole]
    drawn = []
    for index in range(count):
        seed = derive_seed(context.config.seed, 0, "random-genome", index)
        genome = random_genome(bank, seed, context.config.breeding, merges)
        drawn.append(Contender(f"random-{index}", bank.genome_id(genome), genome))
    return drawn


def own_lines(
    context: ReadContext, company: Company, sizes: Sequence[int], *, alone: bool
) -> list[Line]:
    """The best expert and the task forces of the wanted sizes, greedy ones too if asked for."""
    field = list(dict.fromkeys(voice.expert for voice in company.standing.marks))
    bred = [name for name in field if not context.store.expert(name).is_seed]
    best = company.standing.order(bred or field)[0]
    lines = [company.line("best_expert", [Voice(best)])]
    lines += company.forces("force", field, sizes, resampled_seeds(context.store))
    return lines + (company.greedy_forces("greedy_force", field, sizes) if alone else [])


def seed_lines(
    company: Company, seeds: Sequence[str], experts: Sequence[str], sizes: Sequence[int]
) -> list[Line]:
    """The baselines that need no search: the best seed, it resampled, and all experts resampled.

    Args:
        company: of whom they are.
        seeds: among whom the best is chosen, the base too.
        experts: who resamples in the row `experts`, see `resampled_seeds`.
        sizes: the values of N.
    """
    best = company.standing.order(seeds)[0]
    order = company.standing.order(experts)
    lines = [company.line("best_seed", [Voice(best)])]
    for n in sizes:
        lines.append(company.line("control", [Voice(best, company.temperature)] * n))
        lines.append(company.line("experts", evenly(order, n, company.temperature)))
    return lines


def once_lines(
    row: str, company: Company, single: str, experts: Sequence[str], sizes: Sequence[int]
) -> list[Line]:
    """What one has after a single merge or lesson, without evolution: its result, then the seeds.

    Each answers greedily once, the seed first that adds most to what is covered; beyond that, the
    result is sampled.

    Args:
        row: name of the rows.
        company: of whom they are.
        single: the merge, or who was taught.
        experts: the seeds.
        sizes: the values of N.
    """
    order = company.standing.order([single, *experts], [single])
    lines = []
    for n in sizes:
        greedy = [Voice(name) for name in order[:n]]
        sampled = [Voice(single, company.temperature)] * (n - len(greedy))
        lines.append(company.line(row, [*greedy, *sampled]))
    return lines


async def big_model_line(context: ReadContext, answerer: Answerer) -> Line:
    """One greedy answer of a model behind an endpoint; the base stands for its genome."""
    bank = await context.population.bank()
    model = Contender("big_model", json_hash(answerer.profile), bank.base_genome(), answerer)
    return Line("big_model", (Seat(model),))
