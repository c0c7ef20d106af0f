"""Evolution: parents are chosen and genomes bred; no weights are touched."""

from __future__ import annotations

from agents.archive import emitting
from agents.archive.grafting import graft
from agents.archive.tutoring import tutor
from agents.context import RunContext
from evolution.bank.bank import Bank
from evolution.breeding.breed import breed, parents_needed
from evolution.selection import Board
from evolution.selection.parents import parents_of
from memory.randomness import derive_seed, stream
from memory.records import Expert
from memory.spans import span


def breed_child(
    context: RunContext, bank: Bank, parents: list[Expert], generation: int, birth: int
) -> Expert:
    """Breed one expert and store it with its lineage. No weights are touched."""
    rng_seed = derive_seed(context.config.seed, generation, "breed", birth)
    with span("breed", f"g{generation}-{birth}", generation=generation) as work:
        genomes = [context.genome(parent) for parent in parents]
        offspring = breed(bank, genomes, rng_seed, context.config.breeding)
        used = [parent.id for parent in parents[: offspring.parents]]
        work.set(operator=offspring.operator, parents=used)
    expert = Expert(
        id=f"g{generation}-{birth}",
        genome_id=bank.genome_id(offspring.genome),
        generation=generation,
        birth=birth,
        operator=offspring.operator,
        parents=tuple(used),
        parameters=offspring.parameters,
        rng_seed=rng_seed,
    )
    context.store.put_genome(expert.genome_id, offspring.genome.to_bytes())
    context.store.put_expert(expert)
    return expert


async def evolve(context: RunContext, generation: int) -> None:
    """Choose parents from the archive and breed the children of a generation, as one decision.

    A graft and a lesson, where they are due, come first and are decisions of their own.
    """
    await graft(context, generation)
    await tutor(context, generation)
    bank = await context.population.bank()
    with context.store.once("evolution", generation) as due:
        if not due:
            return
        entries = context.store.archive(generation - 1)
        archive = context.store.experts_named([entry.expert for entry in entries])
        # On the instances on which they were selected: in a new period nobody has answered yet.
        candidates = context.candidates(archive, context.period_of(generation - 1))
        chances = context.chances()
        active = [family.id for family in context.store.families("active")]
        by_id = {expert.id: expert for expert in archive}
        wanted = parents_needed(context.config.breeding)
        board = Board.of(candidates, active, chances)
        for birth in range(context.config.population.children):
            if _is_searched(context, generation, birth) and emitting.ask(
                context, bank, board, active, generation, birth
            ):
                continue
            rng = stream(context.config.seed, generation, "parents", birth)
            chosen = parents_of(board, rng, context.config.selection, wanted)
            breed_child(context, bank, [by_id[name] for name in chosen], generation, birth)


def _is_searched(context: RunContext, generation: int, birth: int) -> bool:
    """Whether a child is an emitter's to ask for, drawn by the configured shares."""
    rng = stream(context.config.seed, generation, "emitter", birth)
    return bool(rng.random() < context.config.breeding.cma_share)
