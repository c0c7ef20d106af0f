"""The judge: every expert that lacks grades answers the active families, and is graded."""

from __future__ import annotations

from collections.abc import Sequence

from agents.concurrency import all_of
from agents.context import RunContext
from agents.errors import JudgingError
from agents.families.items import Item, items_of
from agents.families.lifecycle import happening_of, move
from agents.judge.examiner import Result, examiner_of, family_outcome
from agents.judge.instances import draw_instances, fresh_items
from agents.judge.race import end_of_rung, rungs
from agents.progress import ProgressEvent
from evolution.selection import undergraded
from memory.records import FINALS, FIXED, OWN, Expert, Family, MissingGrade, Skill
from memory.spans import span

REGRADES = 2
"""How often experts with too few grades are examined again before the run stops."""


async def judge_generation(context: RunContext, generation: int) -> None:
    """Examine the archive and the children of a generation on the active pool.

    All are asked the fresh instances of the adaptation period. Each generation is a session of its
    own for the rater, who is asked again what was left open. Where the last family has run out of
    new questions, nobody is judged and no family is active any more.

    Raises:
        JudgingError: so many answers stayed ungraded, twice, that selection would be a guess; or
            there is no family although none has run out.
    """
    context.chat.begin_session()
    period, count = context.period_of(generation), context.config.judge.instances
    tries = 0
    while tries <= REGRADES:
        families = await _drawn(context, period, count)
        if not families and generation > 0 and (exhausted := _exhausted(context)):
            text = f"no family has a new question left ({exhausted} ran out): the run ends here"
            context.progress(ProgressEvent("line", text))
            return
        if not families:
            counts = context.store.rejection_counts().items()
            reasons = ", ".join(f"{reason} {number}" for reason, number in counts)
            raise JudgingError(
                f"no family is active in generation {generation} (rejections: {reasons or 'none'}):"
                " `acdc trace DIR --rejected` shows why; families without a new question: "
                f"{_exhausted(context)}"
            )
        await _race(context, generation, families)
        active = context.store.families("active")
        if any(not fresh_items(context, family, period) for family in active):
            # A parent came back for a child that was condemned: it has not been asked yet.
            continue
        names = [family.id for family in active]
        missing = undergraded(context.candidates(competitors(context, generation), period), names)
        if not missing:
            return
        tries += 1
    raise JudgingError(
        f"generation {generation}: {', '.join(missing)} could not be graded on 90 % of the pool; "
        f"`acdc trace DIR --expert {missing[0]}` shows why; the same command tries again"
    )


async def _drawn(context: RunContext, period: int, count: int) -> list[Family]:
    """The active families that can ask in a period; of a new one the finals are set aside first.

    So a family that has run out of questions by the end of the run still asks in the finals, and
    what it asks before does not depend on when the run ends.
    """
    finals = context.config.finals.instances
    await draw_instances(context, context.store.families("active"), FINALS, finals)
    return await draw_instances(context, context.store.families("active"), period, count)


def _exhausted(context: RunContext) -> int:
    events = context.store.family_events()
    return len({each.family for each in events if happening_of(each) == "exhausted"})


def competitors(context: RunContext, generation: int) -> list[Expert]:
    """The archive before this generation's selection, and its children that finished the race."""
    store = context.store
    members: dict[str, Expert] = {}
    if generation > 0:
        names = [entry.expert for entry in store.archive(generation - 1)]
        members = {expert.id: expert for expert in store.experts_named(names)}
    members.update({expert.id: expert for expert in store.experts(generation)})
    out = store.eliminated()
    return [expert for name, expert in members.items() if name not in out]


async def _race(context: RunContext, generation: int, families: Sequence[Family]) -> None:
    """Examine the archive on everything, and the children as far as they can still survive."""
    period, count = context.period_of(generation), context.config.judge.instances
    there = competitors(context, generation)
    children = [expert for expert in there if expert.generation == generation > 0]
    others = [expert for expert in there if expert not in children]
    if not context.config.judge.racing:
        await examine_experts(context, there, families, period, count)
        return
    await examine_experts(context, others, families, period, count)
    for asked in rungs(count):
        still = [e for e in competitors(context, generation) if e in children]
        await examine_experts(context, still, families, period, asked)
        if asked < count:
            await end_of_rung(context, generation, asked, competitors(context, generation))


async def examine_experts(
    context: RunContext,
    experts: Sequence[Expert],
    families: Sequence[Family],
    period: int,
    count: int,
    label: str = "judge",
) -> None:
    """Let experts answer what they have not been graded on, and write skill vectors.

    Experts answer one after another in the engine; while one answers, the sandbox grades those
    before it.

    Args:
        context: of the run.
        experts: who is asked.
        families: of which they are asked.
        period: whose instances; `OWN` for those with which the families were written.
        count: so many of them, the first ones.
        label: of the progress.
    """
    asked = {family.id: _asked(context, family, period, count) for family in families}
    due = {expert.id: _ungraded(context, expert, families, period, asked) for expert in experts}
    waiting = [expert for expert in experts if due[expert.id]]
    total = sum(len(due[expert.id]) for expert in waiting)
    done = 0

    async def one(expert: Expert) -> None:
        nonlocal done
        with span("step", "examine", expert=expert.id, families=len(due[expert.id])):
            for family, results in await _examine(context, expert, due[expert.id], asked):
                _write_outcome(context, expert, family, period, results)
        done += len(due[expert.id])
        context.progress(ProgressEvent("step", f"{label}: {expert.id}", done, total))

    await all_of(one(expert) for expert in waiting)


def _asked(context: RunContext, family: Family, period: int, count: int) -> list[Item]:
    if period == OWN or not family.generative:
        return items_of(family)
    return fresh_items(context, family, period)[:count]


def _ungraded(
    context: RunContext,
    expert: Expert,
    families: Sequence[Family],
    period: int,
    asked: dict[str, list[Item]],
) -> list[Family]:
    graded = context.store.skill_counts(expert.id, period)
    return [
        family
        for family in families
        if family.id not in graded
        or (family.generative and graded[family.id].asked < len(asked[family.id]))
    ]


async def _examine(
    context: RunContext, expert: Expert, families: Sequence[Family], asked: dict[str, list[Item]]
) -> list[tuple[Family, list[Result]]]:
    """Ask generative families all that is due; of closed ones the second instance only if need be.

    A closed family is failed with its first instance: another answer could change nothing.
    """
    examiner = await examiner_of(context)
    genome = context.genome(expert)

    async def ask(wanted: Sequence[tuple[Family, list[Item]]]) -> list[list[Result]]:
        items = [item for _, each in wanted for item in each]
        found = iter(await examiner.examine(expert.genome_id, genome, items))
        per_item = context.config.judge.samples
        return [[next(found) for _ in range(per_item * len(each))] for _, each in wanted]

    first = [(f, asked[f.id] if f.generative else asked[f.id][:1]) for f in families]
    results = dict(zip((f.id for f in families), await ask(first), strict=True))
    passed = [f for f in families if not f.generative and family_outcome(results[f.id])]
    second = [(family, asked[family.id][1:]) for family in passed]
    for family, found in zip(passed, await ask(second), strict=True):
        results[family.id] += found
    return [(family, results[family.id]) for family in families]


def _write_outcome(
    context: RunContext, expert: Expert, family: Family, period: int, results: Sequence[Result]
) -> None:
    condemned = next((result.condemned for result in results if result.condemned), None)
    if condemned is not None:
        move(context.store, family, "condemned", detail=str(condemned))
        return
    skill = skill_of(family, results)
    if skill is not None:
        kept = period if family.generative else FIXED
        context.store.set_skill(expert.id, family.id, skill, kept)
    else:
        reason = next((result.error for result in results if result.error), "no result")
        gap = MissingGrade(expert=expert.id, family=family.id, reason=reason)
        context.store.add_event(gap)


def skill_of(family: Family, results: Sequence[Result]) -> Skill | bool | None:
    """Counts of the graded instances, or the verdict on a closed family; None if nothing is."""
    if not family.generative:
        return family_outcome(results)
    instances: dict[str, list[Result]] = {}
    for result in results:
        instances.setdefault(result.item.instance, []).append(result)
    passed = [family_outcome(each) for each in instances.values()]
    graded = [verdict for verdict in passed if verdict is not None]
    return Skill(passes=sum(graded), asked=len(graded)) if graded else None
