"""Fresh instances: what experts are asked in a period, or in the finals, or learn from.

They are drawn for all experts alike (common random numbers), from seeds that nothing else uses. A
question that a scientist, its trial panel or an earlier period has seen is not asked again: experts
are ranked on what nobody could prepare for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agents.context import ReadContext, RunContext
from agents.errors import FamilyFault
from agents.families.items import Item, item_of, items_of
from agents.families.lifecycle import move
from agents.sandbox import Description
from memory.randomness import SEED_RANGE, derive_seed
from memory.records import FINALS, Family, Instance, is_learning
from memory.spans import span


class Drawing(Protocol):
    """The part of the sandbox that draws."""

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        """Two instances of each seed."""
        ...


ATTEMPTS = 3
"""So many times more seeds are tried for a family that repeats its questions."""


def fresh_items(context: ReadContext, family: Family, period: int) -> list[Item]:
    """What is asked of a family in a period: fresh instances, or the two of a closed family."""
    if not family.generative:
        return items_of(family)
    return [item_of(family, each) for each in context.store.instances(family.id, period)]


async def draw_instances(
    context: RunContext, families: Sequence[Family], period: int, count: int, more: bool = False
) -> list[Family]:
    """Draw what generative families ask in a period, once.

    Args:
        context: of the run.
        families: of the pool.
        period: number of the adaptation period, `FINALS`, or one of learning.
        count: instances of each family.
        more: draw the rest where fewer were drawn before, as when their number was raised.

    Returns:
        The families that can ask. A program that fails is condemned, and one that has no new
        question left is exhausted: both are retired, but the latter not by the finals. Learning
        retires nobody, and takes no question of a family that has too few. One that has drawn
        before keeps that whatever becomes of the rest.

    Raises:
        SandboxError: the sandbox failed.
    """
    drawn: dict[str, list[Instance]] = {}
    for each in context.store.instances(period=period):
        drawn.setdefault(each.family, []).append(each)
    enough = count if more else 1
    due = [f for f in families if f.generative and len(drawn.get(f.id, [])) < enough]
    lost: set[str] = set()

    async def one(family: Family) -> None:
        before = drawn.get(family.id, [])
        try:
            instances = await new_instances(context, context.sandbox, family, period, count)
        except FamilyFault as fault:
            if before:
                return
            if not is_learning(period):
                move(context.store, family, "condemned", detail=str(fault))
            lost.add(family.id)
            return
        if is_learning(period) and len(instances) < count:
            lost.add(family.id)
            return
        if not instances and not before:
            lost.add(family.id)
            if period != FINALS:
                move(context.store, family, "exhausted")
        context.store.put_instances([*before, *instances][:count])

    if due:
        with span("step", "draw", families=len(due), period=period):
            # In turn: what one has drawn, another one of the same program may not ask.
            for family in due:
                await one(family)
    return [family for family in families if family.id not in lost]


async def new_instances(
    context: ReadContext, sandbox: Drawing, family: Family, period: int, count: int
) -> list[Instance]:
    """Instances of a family that ask something new, as far as there are any; none is recorded.

    Raises:
        FamilyFault: the program fails.
        SandboxError: the sandbox failed.
    """
    known = _questions(context, family, period)
    found: list[Instance] = []
    for attempt in range(1 + ATTEMPTS):
        if len(found) == count:
            break
        purpose = f"instances/{family.id}/{period}"
        first = derive_seed(context.config.seed, 0, purpose, attempt) % SEED_RANGE
        seeds = range(first, first + (count + 1) // 2)
        seen = await sandbox.draw(family.code, seeds, family.level)
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


def _questions(context: ReadContext, family: Family, period: int) -> set[str]:
    """All questions that families of this program have asked, and the rounds of their drafts.

    What is learnt may be no question of any family, and no family may ask what was learnt.
    """
    store = context.store
    found = {instance.instructions for instance in store.learnt_instances()}
    others = store.families_of_program(family.code_hash)
    for each in store.families() if is_learning(period) else others:
        found |= {instance.instructions for instance in store.instances(each.id)}
        found |= set(each.instructions.values())
        for draft in store.drafts_of(each.id):
            found |= {answer.question for answer in draft.answers}
            found |= set(draft.gates.instructions.values()) if draft.gates else set()
    return found
