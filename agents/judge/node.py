"""The judge: every expert that lacks grades answers the active families, and is graded."""

from __future__ import annotations

from collections.abc import Sequence

from agents.concurrency import all_of
from agents.context import RunContext
from agents.errors import JudgingError
from agents.families.items import items_of
from agents.families.lifecycle import move
from agents.judge.examiner import Result, examiner_of, family_outcome
from agents.progress import ProgressEvent
from evolution.selection import undergraded
from memory.records import Expert, Family, MissingGrade

REGRADES = 2
"""How often experts with too few grades are examined again before the run stops."""


async def judge_generation(context: RunContext, generation: int) -> None:
    """Examine the archive and the children of a generation on the active pool.

    Each generation is a session of its own for the rater, who is asked again what was left open.

    Raises:
        JudgingError: so many answers stayed ungraded, twice, that selection would be a guess.
    """
    context.chat.begin_session()
    experts = competitors(context, generation)
    for _ in range(1 + REGRADES):
        families = context.store.families("active")
        if not families:
            counts = context.store.rejection_counts().items()
            reasons = ", ".join(f"{reason} {number}" for reason, number in counts)
            raise JudgingError(
                f"no family is active in generation {generation} (rejections: {reasons or 'none'}):"
                " `acdc trace DIR --rejected` shows why"
            )
        await examine_experts(context, experts, families)
        active = [family.id for family in context.store.families("active")]
        missing = undergraded(context.candidates(experts), active)
        if not missing:
            return
    raise JudgingError(
        f"generation {generation}: {', '.join(missing)} could not be graded on 90 % of the pool; "
        f"`acdc trace DIR --expert {missing[0]}` shows why; the same command tries again"
    )


def competitors(context: RunContext, generation: int) -> list[Expert]:
    """The archive before this generation's selection, and this generation's children."""
    store = context.store
    members: dict[str, Expert] = {}
    if generation > 0:
        members = {e.expert: store.expert(e.expert) for e in store.archive(generation - 1)}
    members.update({expert.id: expert for expert in store.experts(generation)})
    return list(members.values())


async def examine_experts(
    context: RunContext, experts: Sequence[Expert], families: Sequence[Family], label: str = "judge"
) -> None:
    """Grade every (expert, family) pair that is not graded yet, and write skill vectors.

    Experts answer one after another in the engine; while one answers, the sandbox grades those
    before it.
    """
    due = {expert.id: _ungraded(context, expert, families) for expert in experts}
    waiting = [expert for expert in experts if due[expert.id]]
    total = sum(len(due[expert.id]) for expert in waiting)
    done = 0

    async def one(expert: Expert) -> None:
        nonlocal done
        await _examine(context, expert, due[expert.id])
        done += len(due[expert.id])
        context.progress(ProgressEvent("step", f"{label}: {expert.id}", done, total))

    await all_of(one(expert) for expert in waiting)


def _ungraded(context: RunContext, expert: Expert, families: Sequence[Family]) -> list[Family]:
    graded = context.store.skills(expert.id)
    return [family for family in families if family.id not in graded]


async def _examine(context: RunContext, expert: Expert, families: Sequence[Family]) -> None:
    """Ask the first instance of every family, and the others where that one is passed.

    A family is failed with its first instance: another answer could change nothing.
    """
    examiner = await examiner_of(context)
    results: dict[str, list[Result]] = {family.code_hash: [] for family in families}

    async def ask(asked: Sequence[Family], part: slice) -> None:
        items = [item for family in asked for item in items_of(family)[part]]
        found = await examiner.examine(expert.genome_id, context.genome(expert), items)
        for result in found:
            results[result.item.code_hash].append(result)

    await ask(families, slice(1))
    await ask([f for f in families if family_outcome(results[f.code_hash])], slice(1, None))
    with context.store.transaction():
        for family in families:
            _write_outcome(context, expert, family, results[family.code_hash])


def _write_outcome(
    context: RunContext, expert: Expert, family: Family, results: Sequence[Result]
) -> None:
    condemned = next((result.condemned for result in results if result.condemned), None)
    if condemned is not None:
        move(context.store, family, "condemned", detail=str(condemned))
        return
    outcome = family_outcome(results)
    if outcome is not None:
        context.store.set_skill(expert.id, family.id, outcome)
    else:
        reason = next((result.error for result in results if result.error), "no result")
        gap = MissingGrade(expert=expert.id, family=family.id, reason=reason)
        context.store.add_event(gap)
