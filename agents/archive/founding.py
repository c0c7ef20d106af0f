"""The first experts: base, seeds, merges of seeds, and children up to the wanted number."""

from __future__ import annotations

import itertools

from agents.archive.breeding import breed_child
from agents.context import RunContext
from agents.progress import ProgressEvent
from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from memory.randomness import stream
from memory.records import Expert


async def make_founders(context: RunContext) -> None:
    """Load the bank and store the founders, once."""
    bank = await context.population.bank()
    await context.population.broker()
    with context.store.once("founding", 0) as due:
        if due:
            seeds = _seed_experts(context, bank)
            _bred_founders(context, bank, seeds)
            context.store.put_meta("bank", {"content_hash": bank.content_hash})
    if due:
        names = [expert.id for expert in context.store.experts(0)]
        context.progress(ProgressEvent("line", f"founders: {', '.join(names)}"))


def _seed_experts(context: RunContext, bank: Bank) -> list[Expert]:
    experts = []
    for birth, name in enumerate(bank.seed_names):
        genome = bank.base_genome() if name == bank.base_name else bank.seed_genome(name)
        operator = "base" if name == bank.base_name else "seed"
        experts.append(_keep(context, bank, genome, name, birth, operator))
    for name in bank.merge_names:
        genome = bank.seed_genome(name)
        experts.append(_keep(context, bank, genome, name, len(experts), "merge"))
    return experts


def _bred_founders(context: RunContext, bank: Bank, seeds: list[Expert]) -> None:
    """Children of pairs of seeds; the base is no parent, since it adds nothing to a merge."""
    bred = [expert for expert in seeds if expert.operator != "base"] or seeds
    pairs = list(itertools.combinations(bred, 2)) or [(bred[0], bred[0])]
    order = stream(context.config.seed, 0, "founding-pairs").permutation(len(pairs))
    for index in range(context.config.population.founders - len(seeds)):
        pair = pairs[int(order[index % len(pairs)])]
        breed_child(context, bank, list(pair), generation=0, birth=len(seeds) + index)


def _keep(
    context: RunContext, bank: Bank, genome: Genome, name: str, birth: int, operator: str
) -> Expert:
    expert = Expert(
        id=name,
        genome_id=bank.genome_id(genome),
        generation=0,
        birth=birth,
        operator=operator,
    )
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)
    return expert
