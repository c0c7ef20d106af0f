"""The first experts: base, seeds, merges of seeds, and children up to the wanted number.

Base and seeds are made while the first families are drafted. RegMean merges them by what each is
right on, of the instances with which the families were written: those on which they are ranked come
later. The other founders are bred from all of these.
"""

from __future__ import annotations

import itertools

from agents.archive.breeding import breed_child
from agents.archive.grafting import graft_founder
from agents.context import RunContext
from agents.progress import ProgressEvent
from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from memory.randomness import stream
from memory.records import Expert

SEEDS, FOUNDERS = "founding", "founders"
"""Steps of generation 0."""


async def make_seeds(context: RunContext) -> None:
    """Load the bank and store base, seeds and configured merges as experts, once."""
    bank = await context.population.bank()
    await context.population.broker()
    with context.store.once(SEEDS, 0) as due:
        if due:
            _seed_experts(context, bank)
            context.store.put_meta("bank", {"content_hash": bank.content_hash})


async def make_founders(context: RunContext) -> None:
    """Merge the seeds by what they are right on, and breed the other founders, once."""
    if context.store.step_done(FOUNDERS, 0):
        return
    seeds = [expert for expert in context.store.experts(0) if expert.operator != "base"]
    await graft_founder(context, seeds)
    bank = await context.population.bank()
    with context.store.once(FOUNDERS, 0) as due:
        if due:
            _bred_founders(context, bank)
    if due:
        names = [expert.id for expert in context.store.experts(0)]
        context.progress(ProgressEvent("line", f"founders: {', '.join(names)}"))


def _seed_experts(context: RunContext, bank: Bank) -> None:
    for birth, name in enumerate([*bank.seed_names, *bank.merge_names]):
        is_base, is_merge = name == bank.base_name, name in bank.merge_names
        genome = bank.base_genome() if is_base else bank.seed_genome(name)
        operator = "base" if is_base else "merge" if is_merge else "seed"
        _keep(context, bank, genome, name, birth, operator)


def _bred_founders(context: RunContext, bank: Bank) -> None:
    """Children of pairs of those that are there; the base adds nothing to a merge: no parent."""
    there = context.store.experts(0)
    bred = [expert for expert in there if expert.operator != "base"] or there
    pairs = list(itertools.combinations(bred, 2)) or [(bred[0], bred[0])]
    order = stream(context.config.seed, 0, "founding-pairs").permutation(len(pairs))
    for index in range(context.config.population.founders - len(there)):
        pair = pairs[int(order[index % len(pairs)])]
        breed_child(context, bank, list(pair), generation=0, birth=len(there) + index)


def _keep(
    context: RunContext, bank: Bank, genome: Genome, name: str, birth: int, operator: str
) -> None:
    expert = Expert(
        id=name,
        genome_id=bank.genome_id(genome),
        generation=0,
        birth=birth,
        operator=operator,
    )
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)
