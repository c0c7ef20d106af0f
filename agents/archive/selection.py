"""Selection as the graph sees it: who stays in the archive and the pool, the pulse of the run."""

from __future__ import annotations

from agents.archive import emitting
from agents.context import RunContext
from agents.families.lifecycle import move
from agents.judge.gibberish import gibberish_experts
from agents.judge.node import competitors
from agents.pool.curation import over_capacity
from agents.pool.rates import pass_rates
from agents.progress import ProgressEvent
from evolution.selection import survive
from evolution.selection.coverage import coverage
from memory.messages import count_of
from memory.records import ArchiveEntry, Expert, GibberishFound
from memory.spans import span


async def select(context: RunContext, generation: int) -> None:
    """Trim the pool, apply the minimal criterion and keep the survivors, as one decision."""
    experts = competitors(context, generation)
    gibberish = await gibberish_experts(context, [e for e in experts if e.generation == generation])
    with context.store.once("selection", generation) as due:
        if due:
            for expert_id, reason in gibberish.items():
                context.store.add_event(GibberishFound(expert=expert_id, reason=reason))
            _trim_pool(context, generation, experts)
            coherent = [expert for expert in experts if expert.id not in gibberish]
            _survive(context, generation, coherent)
            emitting.tell(context, generation, gibberish)
    _pulse(context, generation)


def _trim_pool(context: RunContext, generation: int, experts: list[Expert]) -> None:
    """A pool over capacity loses the families that discriminate least between experts."""
    active = [family.id for family in context.store.families("active")]
    period = context.period_of(generation)
    skills = {expert.id: context.store.skill_counts(expert.id, period) for expert in experts}
    rates = pass_rates(active, skills)
    for name in over_capacity(active, rates, context.config.pool.capacity):
        family = context.store.family(name)
        move(context.store, family, "least_discriminating", rate=rates[name])


def _survive(context: RunContext, generation: int, experts: list[Expert]) -> None:
    active = [family.id for family in context.store.families("active")]
    with span("decision", "survival", candidates=len(experts), families=len(active)) as work:
        selection = survive(
            context.candidates(experts, context.period_of(generation)),
            active,
            context.config.population.capacity,
            context.config.selection,
            context.chances(),
        )
        work.set(output=", ".join(kept.id for kept in selection.kept))
    context.store.put_archive(
        generation,
        [
            ArchiveEntry(expert=kept.id, rank=rank, fitness=kept.fitness, novelty=kept.novelty)
            for rank, kept in enumerate(selection.kept)
        ],
    )


def _pulse(context: RunContext, generation: int) -> None:
    store = context.store
    entries = store.archive(generation)
    active = [family.id for family in store.families("active")]
    skills = context.archive_skills()
    best = max(entries, key=lambda entry: entry.fitness)
    asked = context.config.generations
    # A run that was stopped may be asked for fewer generations than it has.
    of = f"/{asked}" if generation <= asked else f" ({asked} were asked for)"
    bred = sum(not store.expert(entry.expert).is_seed for entry in entries)
    covered = coverage(skills, list(skills), active)
    measures = {
        "archive/best_fitness": best.fitness,
        "archive/mean_fitness": sum(entry.fitness for entry in entries) / len(entries),
        "archive/coverage": covered,
        "archive/bred": bred,
        "experts/kept": store.count("experts"),
        "pool/active": len(active),
        "pool/accepted": store.count("families"),
        "pool/rejected": sum(store.rejection_counts().values()),
    }
    for role, totals in store.call_totals().items():
        measures |= {
            f"{role}/{name}": totals[name] for name in ("calls", "tokens_in", "tokens_out")
        }
    context.progress(
        ProgressEvent(
            "pulse",
            f"generation {generation}{of}: best {best.expert} "
            f"{best.fitness:.2f}, archive {len(entries)} ({bred} bred), Coverage "
            f"{covered:.2f} on the pool of {count_of(len(active), 'family')}",
            generation,
            max(generation, asked),
            measures,
        )
    )
