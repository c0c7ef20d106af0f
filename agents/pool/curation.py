"""Curation of the task pool: which families are retired or held, and what is asked of scientists.

Pure functions of pass rates; the node applies what they decide in one transaction, by the state
machine in `agents.families.lifecycle`. A pass rate is the share of archive experts that pass among
those that are graded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.context import RunContext
from agents.families.lifecycle import held_parent, move
from agents.pool.assignments import _write_assignments
from agents.pool.rates import discrimination, pass_rates
from agents.progress import ProgressEvent
from agents.settings import PoolSettings
from memory.messages import count_of
from memory.randomness import stream
from memory.records import AssignmentKind, Audience, Family
from memory.spans import span

AHEAD = "assignments"
"""The step in which assignments are written ahead."""


@dataclass(frozen=True, slots=True)
class AdaptationPlan:
    """What one adaptation does.

    Attributes:
        retired: families that no expert passes.
        held: parents for which a harder child is tried.
        requests: (kind, parent id or None) in assignment order.
    """

    retired: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    requests: list[tuple[AssignmentKind, str | None]] = field(default_factory=list)


def over_capacity(families: Sequence[str], rates: Mapping[str, float], capacity: int) -> list[str]:
    """The families that leave a full pool: least discrimination first, the older on ties.

    Args:
        families: ids of the active families, oldest first.
        rates: pass rates; a family without one is not judged yet and stays.
        capacity: how many may stay.
    """
    surplus = len(families) - capacity
    if surplus <= 0:
        return []
    graded = [family for family in families if family in rates]
    return sorted(graded, key=lambda family: discrimination(rates[family]))[:surplus]


def plan_adaptation(
    active: Sequence[Family],
    rates: Mapping[str, float],
    settings: PoolSettings,
    rng: np.random.Generator,
    replaced: Collection[str] = (),
) -> AdaptationPlan:
    """Decide one adaptation of the pool.

    Args:
        active: the active families, oldest first.
        rates: pass rates of the graded ones.
        settings: shares and limits.
        rng: the stream of this decision.
        replaced: active families with a held parent, which returns if they are retired as
            impossible: retiring them does not shrink the pool.
    """
    plan = AdaptationPlan()
    graded = [family for family in active if family.id in rates]
    _retire_impossible(plan, graded, len(active), rates, settings, rng, replaced)
    alive = [family for family in graded if family.id not in plan.retired]
    slots = max(0, settings.adaptations - len(plan.requests))
    order = rng.permutation(len(alive)) if alive else np.zeros(0, dtype=int)
    for position in range(slots):
        if not alive:
            plan.requests.append(("novel", None))
            continue
        parent = alive[int(order[position % len(alive)])]
        kind = _kind(rates[parent.id], settings, rng)
        if kind == "harder":
            if parent.id in plan.held:
                continue
            plan.held.append(parent.id)
        plan.requests.append((kind, parent.id))
    return plan


def _retire_impossible(
    plan: AdaptationPlan,
    graded: Sequence[Family],
    active: int,
    rates: Mapping[str, float],
    settings: PoolSettings,
    rng: np.random.Generator,
    replaced: Collection[str],
) -> None:
    """Retire what no expert passes, as long as half of the capacity stays active."""
    floor = settings.capacity / 2
    for family in graded:
        if rates[family.id] > 0:
            continue
        if family.id not in replaced:
            if active <= floor:
                continue
            active -= 1
        plan.retired.append(family.id)
        if rng.random() < settings.rescue and len(plan.requests) < settings.adaptations:
            plan.requests.append(("easier", family.id))


def _kind(rate: float, settings: PoolSettings, rng: np.random.Generator) -> AssignmentKind:
    if rate > settings.easy_above:
        return "harder"
    return "novel" if rng.random() < settings.novel_share else "related"


def curate(context: RunContext, generation: int, audience: Audience | None = None) -> None:
    """Retire and hold families, and write the assignments of an adaptation, in one transaction.

    Where they were written ahead, parents are held for the harder children that were drafted.

    Args:
        context: of the run.
        generation: before which the pool adapts.
        audience: who answers, as the scientists are told.
    """
    store = context.store
    with store.once("curation", generation) as due:
        if not due:
            return
        plan = _plan(context, generation)
        if store.step_done(AHEAD, generation):
            held = _parents_of_drafted(context, generation, plan.retired)
            plan = AdaptationPlan(retired=plan.retired, held=held)
        _apply(context, plan)
        _write_assignments(context, generation, plan.requests, audience)
    context.progress(
        ProgressEvent(
            "line",
            f"curation: {count_of(len(plan.retired), 'family')} retired, {len(plan.held)} held "
            f"for a harder child, {count_of(len(plan.requests), 'assignment')}",
        )
    )


def assign_ahead(context: RunContext, generation: int, audience: Audience | None = None) -> None:
    """Write the assignments of an adaptation before the generation ahead of it is judged.

    They follow the archive as it is now. Which families are retired or held is decided when the
    pool adapts, so that until then all of them grade.

    Args:
        context: of the run.
        generation: before which the pool adapts.
        audience: who answers, as the scientists are told.
    """
    with context.store.once(AHEAD, generation) as due:
        if not due:
            return
        requests = _plan(context, generation).requests
        _write_assignments(context, generation, requests, audience)
    context.progress(ProgressEvent("line", f"{len(requests)} assignments, drafted ahead"))


def _plan(context: RunContext, generation: int) -> AdaptationPlan:
    store = context.store
    active = store.families("active")
    rates = pass_rates([family.id for family in active], context.archive_skills())
    rng = stream(context.config.seed, generation, "curation")
    replaced = [family.id for family in active if held_parent(store, family) is not None]
    with span("decision", "adaptation", families=len(active)) as work:
        plan = plan_adaptation(active, rates, context.config.pool, rng, replaced)
        work.set(retired=plan.retired, held=plan.held, requests=plan.requests)
    return plan


def _parents_of_drafted(
    context: RunContext, generation: int, retired: Collection[str]
) -> list[str]:
    """The active families for which there is a harder draft."""
    store = context.store
    drafted = store.assignments(generation, "candidate")
    parents = [each.parent for each in drafted if each.kind == "harder" and each.parent]
    return [
        parent
        for parent in parents
        if parent not in retired and store.family_status(parent) == "active"
    ]


def _apply(context: RunContext, plan: AdaptationPlan) -> None:
    for family in plan.retired:
        move(context.store, context.store.family(family), "impossible")
    for family in plan.held:
        move(context.store, context.store.family(family), "harder_tried")
