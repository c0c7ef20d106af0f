"""The field of a run: who may be in its task force, and the history on which forces are chosen."""

from __future__ import annotations

from agents.families.lifecycle import condemned
from evolution.selection.coverage import TaskForce, task_force
from memory.records import Expert, Family, GibberishFound, Skills
from memory.store import RunStore


def field_of(store: RunStore) -> list[Expert]:
    """Everybody whom the run ever judged, but for those whose answers were gibberish.

    An expert that survival put out may still solve what nobody else does. In the order in which
    ties are broken: the latest archive by rank, the seeds, then the others, the youngest first.
    """
    everybody = store.experts()
    lost = {
        GibberishFound.model_validate(event.payload).expert for event in store.events("gibberish")
    }
    order = {expert.id: expert for expert in store.archive_experts()}
    order |= {expert.id: expert for expert in everybody if expert.is_seed}
    for expert in reversed(everybody):
        order.setdefault(expert.id, expert)
    return [expert for name, expert in order.items() if name not in lost]


def history_of(store: RunStore) -> list[Family]:
    """Every family that ever graded, but for those whose own scorer broke."""
    broken = condemned(store)
    return [family for family in store.families() if family.id not in broken]


def eligible(store: RunStore) -> dict[str, Skills]:
    """Who may be in the force, with its grades; missing grades cover nothing."""
    skills = {expert.id: store.skills(expert.id) for expert in field_of(store)}
    return {expert: vector for expert, vector in skills.items() if vector}


def force_in(store: RunStore, size: int) -> TaskForce:
    """The task force that answers for a run: greedy on the history, of the size or of all."""
    families = [family.id for family in history_of(store)]
    return task_force(eligible(store), families, size)
