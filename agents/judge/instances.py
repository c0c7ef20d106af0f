"""Fresh instances: what experts are asked in one adaptation period, and in the finals.

They are drawn for all experts alike (common random numbers), from seeds that nothing else uses. A
question that a scientist, its trial panel or an earlier period has seen is not asked again: experts
are ranked on what nobody could prepare for.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.context import ReadContext, RunContext
from agents.errors import FamilyFault
from agents.families.items import Item, item_of, items_of
from agents.families.lifecycle import move
from memory.randomness import SEED_RANGE, derive_seed
from memory.records import FINALS, Family, Instance
from memory.spans import span

ATTEMPTS = 3
"""So many times more seeds are tried for a family that repeats its questions."""


def fresh_items(context: ReadContext, family: Family, period: int) -> list[Item]:
    """What is asked of a family in a period: fresh instances, or the two of a closed family."""
    if not family.generative:
        return items_of(family)
    return [item_of(family, each) for each in context.store.instances(family.id, period)]


async def draw_instances(
    context: RunContext, families: Sequence[Family], period: int, count: int
) -> list[Family]:
    """Draw what generative families ask in a period, once.

    Args:
        context: of the run.
        families: of the pool.
        period: number of the adaptation period, or `FINALS`.
        count: instances of each family.

    Returns:
        The families that can ask. A program that fails is condemned, and one that has no new
        question left is exhausted: both are retired, but the latter not by the finals.

    Raises:
        SandboxError: the sandbox failed.
    """
    drawn = {instance.family for instance in context.store.instances(period=period)}
    due = [family for family in families if family.generative and family.id not in drawn]
    lost: set[str] = set()

    async def one(family: Family) -> None:
        try:
            instances = await _drawn(context, family, period, count)
        except FamilyFault as fault:
            move(context.store, family, "condemned", detail=str(fault))
            lost.add(family.id)
            return
        if not instances:
            lost.add(family.id)
            if period != FINALS:
                move(context.store, family, "exhausted")
        context.store.put_instances(instances)

    if due:
        with span("step", "draw", families=len(due), period=period):
            # In turn: what one has drawn, another one of the same program may not ask.
            for family in due:
                await one(family)
    return [family for family in families if family.id not in lost]


async def _drawn(context: RunContext, family: Family, period: int, count: int) -> list[Instance]:
    """Instances that ask something new, as far as there are any."""
    known = _questions(context, family)
    found: list[Instance] = []
    for attempt in range(1 + ATTEMPTS):
        if len(found) == count:
            break
        purpose = f"instances/{family.id}/{period}"
        first = derive_seed(context.config.seed, 0, purpose, attempt) % SEED_RANGE
        seeds = range(first, first + (count + 1) // 2)
        seen = await context.sandbox.draw(family.code, seeds, family.level)
        for name, text in seen.instructions.items():
            if text not in known and len(found) < count:
                known.add(text)
                wrong = tuple(seen.wrong.get(name, ()))
                found.append(
                    Instance(
                        family=family.id,
                        period=period,
                        name=name,
                        instructions=text,
                        reference=seen.references[name],
                        wrong=wrong,
                    )
                )
    return found


def _questions(context: RunContext, family: Family) -> set[str]:
    """All questions that families of this program have asked, and the rounds of their drafts."""
    store, found = context.store, set[str]()
    for each in store.families():
        if each.code_hash == family.code_hash:
            found |= set(each.instructions.values())
            found |= {instance.instructions for instance in store.instances(each.id)}
            for draft in store.drafts_of(each.id):
                found |= {answer.question for answer in draft.answers}
                found |= set(draft.gates.instructions.values()) if draft.gates else set()
    return found
