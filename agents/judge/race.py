"""The race of a generation's children: who can hardly survive is not asked the rest.

Children are asked one instance of each family, then two, then four, and so on. After each rung
those leave whose chance to survive has fallen below `judge.racing`, once for all: they do not
compete, and what they were not asked is missing, never failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.context import RunContext
from agents.judge.gibberish import gibberish_experts
from agents.judge.instances import fresh_items
from agents.progress import ProgressEvent
from evolution.selection import undergraded
from evolution.selection.racing import survival_chances
from memory.randomness import stream
from memory.records import Eliminated, Expert, Family
from memory.spans import span


def rungs(instances: int) -> Iterator[int]:
    """How many instances of each family are asked by the end of each rung: 1, 2, 4, .. all."""
    asked = 1
    while asked < instances:
        yield asked
        asked *= 2
    yield instances


async def end_of_rung(
    context: RunContext, generation: int, asked: int, competing: Sequence[Expert]
) -> None:
    """Let children leave the race that can hardly survive, as one decision.

    Children that speak gibberish take nobody's place: selection will put them out.

    Args:
        context: of the run.
        generation: whose children race.
        asked: instances of each family that they have been asked.
        competing: the archive, and the children that are still there.
    """
    limit, store = context.config.judge.racing, context.store
    if not limit or store.step_done(f"race-{asked}", generation):
        return
    period, families = context.period_of(generation), store.families("active")
    if undergraded(context.candidates(competing, period), [family.id for family in families]):
        # What is missing may change who survives: the judge asks again first.
        return
    children = [each for each in competing if each.generation == generation > 0]
    lost = await gibberish_experts(context, children)
    there = [expert for expert in competing if expert.id not in lost]
    with store.once(f"race-{asked}", generation) as due:
        if not due:
            return
        with span("decision", "race", asked=asked, children=len(children)) as work:
            out = _unlikely(context, there, children, families, generation, asked)
            work.set(output=", ".join(sorted(out)) or "all go on")
        for name, chance in sorted(out.items()):
            answered = sum(skill.asked for skill in store.skill_counts(name, period).values())
            store.add_event(Eliminated(expert=name, survival=chance, asked=answered))
    if out:
        context.progress(
            ProgressEvent(
                "line", f"out of the race after {asked} of each: {', '.join(sorted(out))}"
            )
        )


def _unlikely(
    context: RunContext,
    there: Sequence[Expert],
    children: Sequence[Expert],
    families: Sequence[Family],
    generation: int,
    asked: int,
) -> dict[str, float]:
    """Children that can hardly survive, with the chance that they do."""
    period = context.period_of(generation)
    found = survival_chances(
        context.candidates(there, period),
        {expert.id for expert in there if expert in children},
        {f.id: len(fresh_items(context, f, period)) if f.generative else 1 for f in families},
        context.config.population.capacity,
        context.config.selection,
        context.chances(),
        stream(context.config.seed, generation, "race", asked),
    )
    return {name: chance for name, chance in found.items() if chance < context.config.judge.racing}
