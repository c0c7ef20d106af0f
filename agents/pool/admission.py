"""Admission: which of the scientists' families enter the pool.

Scientists work concurrently and finish in any order; novelty is decided here, one family at a
time in assignment order, so that the outcome does not depend on the order of arrival.
"""

from __future__ import annotations

from agents.context import RunContext
from agents.critic.novelty import novelty_verdict
from agents.families.folders import write_family
from agents.families.lifecycle import move
from agents.progress import ProgressEvent
from agents.scientist.subgraph import candidate_family
from memory.records import Assignment, Family, Rejection


async def admit(context: RunContext, generation: int) -> None:
    """Decide on every finished candidate of a generation, in assignment order."""
    for assignment in context.store.assignments(generation):
        status, _, _ = context.store.assignment_status(assignment.id)
        if status == "candidate":
            family = candidate_family(context.store, assignment)
            rejection = await novelty_verdict(context, assignment, family)
            _settle(context, assignment, family, rejection)
        _release_parent_of_rejected(context, assignment)


def _settle(
    context: RunContext, assignment: Assignment, family: Family, rejection: Rejection | None
) -> None:
    store = context.store
    if rejection is not None:
        store.finish_assignment(assignment.id, "rejected", rejection)
        context.progress(ProgressEvent("rejected", f"{family.name}: {rejection.reason}"))
        return
    with store.transaction():
        store.put_family(family)
        store.finish_assignment(assignment.id, "accepted", family_id=family.id)
    write_family(context.folder / "tasks", family)
    context.novelty.add(family)
    context.progress(ProgressEvent("accepted", family.name))


def _release_parent_of_rejected(context: RunContext, assignment: Assignment) -> None:
    """A parent that was held back for a harder child returns when the child is rejected."""
    status, _, _ = context.store.assignment_status(assignment.id)
    parent = assignment.parent
    if (
        status == "rejected"
        and assignment.kind == "harder"
        and parent is not None
        and context.store.family_status(parent) == "held"
    ):
        move(context.store, context.store.family(parent), "child_rejected")
