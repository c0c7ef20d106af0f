"""Who is compared: the force and its baselines, all with the same number of answers.

Everything that is chosen is chosen on the history of the run, never on the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.judge.examiner import Answerer
from agents.task_force.routing import fitness_of
from evolution.breeding.breed import random_genome
from evolution.genome.genome import Genome
from evolution.merging.settings import REGMEAN
from evolution.selection.coverage import task_force
from memory.hashing import json_hash
from memory.randomness import derive_seed
from memory.records import Expert, Family, GraftRefused, Skills
from memory.store import RunStore

RESAMPLING_TEMPERATURE = 0.7
"""At which a model answers more than once; the paper's control."""


@dataclass(frozen=True)
class Contender:
    """Somebody who can answer.

    Attributes:
        skills: grades on the history.
        answerer: who answers in its place; None for the engine of the run.
    """

    name: str
    genome_id: str
    genome: Genome
    skills: Skills
    answerer: Answerer | None = None

    @property
    def fitness(self) -> float:
        """Share of the history that it passes."""
        return fitness_of(self.skills)


@dataclass(frozen=True)
class Voice:
    """One of a row's N answers to each task.

    Attributes:
        sample: which answer of that contender at that temperature; 0 where it is greedy.
    """

    contender: Contender
    temperature: float = 0.0
    sample: int = 0


@dataclass(frozen=True)
class Line:
    """One way of answering with N answers per task."""

    name: str
    voices: tuple[Voice, ...]

    @property
    def n(self) -> int:
        """Answers per task."""
        return len(self.voices)

    @property
    def sampling(self) -> str:
        """How its tokens are drawn, in words."""
        warm = sum(voice.temperature > 0 for voice in self.voices)
        if not warm:
            return "greedy"
        drawn = f"T = {RESAMPLING_TEMPERATURE}"
        return drawn if warm == self.n else f"{self.n - warm} greedy, {warm} at {drawn}"


def contenders(context: ReadContext, skills: Mapping[str, Skills]) -> list[Contender]:
    """Experts of a run with their grades."""
    found = []
    for name, vector in skills.items():
        expert = context.store.expert(name)
        found.append(Contender(name, expert.genome_id, context.genome(expert), vector))
    return found


async def random_contenders(context: ReadContext, count: int) -> list[tuple[str, str, Genome]]:
    """Random genomes over the run's bank, within the same bounds, without evolution.

    All anchors that the run has grafted are theirs too. They separate search from selection: a
    force chosen among them and the founders that nobody bred, in the same way and on the same
    history, had the same luck of the draw.

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
        drawn.append((f"random-{index}", bank.genome_id(genome), genome))
    return drawn


def founding_merge(store: RunStore) -> Expert | str:
    """The merge of the seeds with which the run began; why there is none, in words."""
    merges = [expert for expert in store.experts(0) if expert.operator == REGMEAN]
    if merges:
        return merges[0]
    refused = [event for event in store.events("graft refused") if event.generation == 0]
    if refused:
        reason = GraftRefused.model_validate(refused[0].payload).reason
        return f"its seeds could not be merged ({reason})"
    return "its seeds were not merged when it began, by its configuration or its version"


def chosen_force(
    field: Sequence[Contender], history: Sequence[Family], n: int, forced: Sequence[str] = ()
) -> tuple[Contender, ...]:
    """The greedy force of n among a field, on the history; those that are forced come first."""
    by_name = {contender.name: contender for contender in field}
    skills = {contender.name: contender.skills for contender in field}
    force = task_force(skills, [family.id for family in history], n, forced)
    return tuple(by_name[name] for name in force.experts)


def own_lines(
    context: ReadContext,
    field: Sequence[Contender],
    history: Sequence[Family],
    sizes: Sequence[int],
) -> list[Line]:
    """The best expert, and the task forces of the wanted sizes.

    Raises:
        AnsweringError: nobody was graded.
    """
    if not field:
        raise AnsweringError(
            f"{context.folder} has no graded experts yet; run it first: acdc run {context.folder}"
        )
    bred = [c for c in field if not context.store.expert(c.name).is_seed]
    [best] = chosen_force(bred or field, history, 1)
    lines = [Line("best_expert", (Voice(best),))]
    return lines + _force_lines("force", field, history, sizes)


def seed_lines(
    seeds: Sequence[Contender],
    experts: Sequence[Contender],
    history: Sequence[Family],
    sizes: Sequence[int],
) -> list[Line]:
    """The baselines that need no search: the best seed, it resampled, and all experts resampled.

    Args:
        seeds: among whom the best is chosen, the base too.
        experts: the seeds without the base, as in the paper's Experts (table 12): a base that was
            not tuned would take its share of the answers, and give little for them.
        history: on which is chosen.
        sizes: the values of N.
    """
    [best] = chosen_force(seeds, history, 1)
    order = chosen_force(experts, history, len(experts))
    lines = [Line("best_seed", (Voice(best),))]
    for n in sizes:
        samples = tuple(Voice(best, RESAMPLING_TEMPERATURE, index) for index in range(n))
        lines.append(Line("control", samples))
        lines.append(Line("experts", evenly(order, n)))
    return lines


def evenly(seeds: Sequence[Contender], n: int) -> tuple[Voice, ...]:
    """N answers in even splits: each seed answers greedily once, then all are sampled in turn.

    The seeds come in the order of their own greedy force, so that for an n below their number the
    ones that cover most together answer.
    """
    voices = []
    for place in range(n):
        turn, who = divmod(place, len(seeds))
        if turn == 0:
            voices.append(Voice(seeds[who]))
        else:
            voices.append(Voice(seeds[who], RESAMPLING_TEMPERATURE, turn - 1))
    return tuple(voices)


def merge_lines(
    merge: Contender,
    experts: Sequence[Contender],
    history: Sequence[Family],
    sizes: Sequence[int],
) -> list[Line]:
    """What one has after a single merge, without evolution: the merge, then the seeds.

    Each answers greedily once, the seed first that adds most on the history; beyond that, the
    merge is sampled.
    """
    order = chosen_force([merge, *experts], history, 1 + len(experts), [merge.name])
    lines = []
    for n in sizes:
        greedy = [Voice(member) for member in order[:n]]
        sampled = [Voice(merge, RESAMPLING_TEMPERATURE, index) for index in range(n - len(order))]
        lines.append(Line("merge_once", (*greedy, *sampled)))
    return lines


def random_lines(
    field: Sequence[Contender], history: Sequence[Family], sizes: Sequence[int]
) -> list[Line]:
    """Forces of unbred founders and random genomes, chosen as the run's own is."""
    return _force_lines("random_genomes", field, history, sizes)


def _force_lines(
    name: str, field: Sequence[Contender], history: Sequence[Family], sizes: Sequence[int]
) -> list[Line]:
    """Greedy forces; a size for which there are too few is left out, since N must be equal."""
    return [
        Line(name, tuple(Voice(member) for member in chosen_force(field, history, n)))
        for n in sizes
        if n <= len(field)
    ]


async def big_model_line(context: ReadContext, answerer: Answerer) -> Line:
    """One greedy answer of a model behind an endpoint; the base stands for its genome."""
    bank = await context.population.bank()
    model = Contender("big_model", json_hash(answerer.profile), bank.base_genome(), {}, answerer)
    return Line("big_model", (Voice(model),))
