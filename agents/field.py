"""The field of a run: who may be in its task force, and the history on which forces are chosen."""

from __future__ import annotations

from agents.context import RunContext
from memory.records import Expert, Family


def field_of(context: RunContext) -> list[Expert]:
    """Everybody whom the run ever judged, but for those whose answers were gibberish.

    An expert that survival put out may still solve what nobody else does. In the order in which
    ties are broken: the latest archive by rank, the seeds, then the others, the youngest first.
    """
    everybody = context.store.experts()
    babbling = {
        event.payload["expert"]
        for event in context.store.events("gibberish")
        if isinstance(event.payload, dict)
    }
    order = {expert.id: expert for expert in context.archive_experts()}
    order |= {expert.id: expert for expert in everybody if expert.is_seed}
    for expert in reversed(everybody):
        order.setdefault(expert.id, expert)
    return [expert for name, expert in order.items() if name not in babbling]


def history_of(context: RunContext) -> list[Family]:
    """Every family that ever graded, but for those whose own scorer broke."""
    condemned = {
        event.family
        for event in context.store.family_events()
        if event.reason.startswith("condemned")
    }
    return [family for family in context.store.families() if family.id not in condemned]
