"""The life of a family in the pool, as a state machine.

    active --harder_tried----------> held        it is easy; a harder child is tried instead
    held   --child_rejected--------> active      the harder child was rejected
    held   --child_impossible------> active      no expert passes the child: too big a step
    held   --child_condemned-------> active      the child's own code failed
    active --impossible------------> retired     no expert passes it
    active --least_discriminating--> retired     the pool is full; it discriminates least
    active --exhausted-------------> retired     its program has no question left that is new
    any    --condemned-------------> retired     its own code failed; it cannot grade any expert,
                                                 and leaves the history even if it was retired

When a harder child is retired because no expert passes it, it cannot grade or it has nothing left
to ask, its held parent returns; when it is retired because all experts pass it, the parent does
not.
"""

from __future__ import annotations

from typing import Literal

from agents.errors import CurationError
from memory.records import Family, FamilyStatus
from memory.store import RunStore
from memory.store.families import FamilyEvent

Happening = Literal[
    "harder_tried",
    "child_rejected",
    "child_impossible",
    "child_condemned",
    "impossible",
    "least_discriminating",
    "exhausted",
    "condemned",
]

TRANSITIONS: dict[tuple[FamilyStatus, Happening], FamilyStatus] = {
    ("active", "harder_tried"): "held",
    ("held", "child_rejected"): "active",
    ("held", "child_impossible"): "active",
    ("held", "child_condemned"): "active",
    ("active", "impossible"): "retired",
    ("active", "least_discriminating"): "retired",
    ("active", "exhausted"): "retired",
    ("active", "condemned"): "retired",
    ("held", "condemned"): "retired",
    ("retired", "condemned"): "retired",
}
_REASONS: dict[Happening, str] = {
    "harder_tried": "a harder child is tried",
    "child_rejected": "its harder child was rejected",
    "child_impossible": "its harder child proved impossible",
    "child_condemned": "its harder child was condemned",
    "impossible": "impossible",
    "least_discriminating": "least discrimination",
    "exhausted": "no new question left",
    "condemned": "condemned",
}
_HAPPENINGS = {reason: happening for happening, reason in _REASONS.items()}


def happening_of(event: FamilyEvent) -> Happening | None:
    """What happened to a family, by the reason that `move` stored; None for its acceptance."""
    return _HAPPENINGS.get(event.reason.partition(": ")[0])


def condemned(store: RunStore) -> set[str]:
    """The families whose own code has failed: no expert can be graded on them."""
    return {e.family for e in store.family_events() if happening_of(e) == "condemned"}


def move(
    store: RunStore, family: Family, happening: Happening, *, detail: str = "", rate: float = 0.5
) -> FamilyStatus:
    """Apply a transition to a family, and to the parent that is held for it.

    Args:
        store: where the status is kept, with the reason.
        family: the family.
        happening: the transition.
        detail: appended to the reason, as in `condemned: timeout: ...`.
        rate: pass rate of a family that leaves as `least_discriminating`; with 0 it was impossible.

    Returns:
        The new status.

    Raises:
        CurationError: the family's status does not allow it.
    """
    present = store.family_status(family.id)
    try:
        status = TRANSITIONS[present, happening]
    except KeyError:
        raise CurationError(f"family {family.id} is {present}: {happening} cannot happen") from None
    reason = _REASONS[happening] + (f": {detail}" if detail else "")
    with store.transaction():
        if status != present:
            store.set_family_status(family.id, status, reason)
        elif family.id not in condemned(store):
            store.note_family(family.id, reason)
        impossible = happening == "impossible" or (happening == "least_discriminating" and not rate)
        if happening == "condemned":
            _bring_back_parent(store, family, "child_condemned")
        elif impossible or happening == "exhausted":
            _bring_back_parent(store, family, "child_impossible")
    return status


def held_parent(store: RunStore, child: Family) -> Family | None:
    """The parent that is held for a harder child, if there is one."""
    if child.kind != "harder":
        return None
    held = (parent for parent in child.parents if store.family_status(parent) == "held")
    return next(map(store.family, held), None)


def _bring_back_parent(store: RunStore, child: Family, happening: Happening) -> None:
    if (parent := held_parent(store, child)) is not None:
        move(store, parent, happening)
