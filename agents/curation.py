"""Curation of the task pool: which families leave, which rest, and what scientists are asked for.

Pure functions of pass rates; the node applies what they decide in one transaction, by the state
machine in `agents.lifecycle`. A pass rate is the share of archive experts that pass among those
that are graded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.settings import PoolSettings
from memory.records import AssignmentKind, Family, Skills


@dataclass(frozen=True, slots=True)
class Plan:
    """What one adaptation does.

    Attributes:
        retired: families that nobody passes.
        held: parents that rest while a harder child is tried.
        requests: (kind, parent id or None) in assignment order.
    """

    retired: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    requests: list[tuple[AssignmentKind, str | None]] = field(default_factory=list)


def pass_rates(families: Sequence[str], archive: Mapping[str, Skills]) -> dict[str, float]:
    """Pass rate of each family that at least one archive expert is graded on."""
    rates = {}
    for family in families:
        outcomes = [skills[family] for skills in archive.values() if family in skills]
        if outcomes:
            rates[family] = sum(outcomes) / len(outcomes)
    return rates


def discrimination(rate: float) -> float:
    """Entropy in bits of a pass rate: 1 where half of the experts pass, 0 where all or none do."""
    if rate in (0.0, 1.0):
        return 0.0
    return -(rate * math.log2(rate) + (1 - rate) * math.log2(1 - rate))


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
) -> Plan:
    """Decide one adaptation of the pool.

    Args:
        active: the active families, oldest first.
        rates: pass rates of the graded ones.
        settings: shares and limits.
        rng: the stream of this decision.
        replaced: active families whose parent rests behind them, and returns if they retire as
            impossible: the pool grows no smaller by them.
    """
    plan = Plan()
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
    plan: Plan,
    graded: Sequence[Family],
    active: int,
    rates: Mapping[str, float],
    settings: PoolSettings,
    rng: np.random.Generator,
    replaced: Collection[str],
) -> None:
    """Retire what nobody passes, as long as half of the capacity stays active."""
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
