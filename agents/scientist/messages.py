"""What a scientist is shown in each round, made from the records alone."""

from __future__ import annotations

from agents.families.proposal import Proposal
from agents.families.views import (
    answers_view,
    assignment_view,
    critique_view,
    family_view,
    gates_view,
    parent_of,
)
from memory.records import Assignment, ChatMessage, Draft
from memory.store import RunStore
from prompts import worked_example

EMPTY_REPLY = "(an empty reply)"
"""Replaces a reply without text, since servers reject empty messages."""


def without_extras(assignment: Assignment) -> Assignment:
    """The assignment without the parts that only inspire or warn."""
    bare: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("inspirations", "weak_spots", "lately_rejected", "taken_names"), ()
    )
    return assignment.model_copy(update=bare)


def shown_to_proposer(
    store: RunStore, assignment: Assignment, *, can_rate: bool = False
) -> dict[str, object]:
    """The variables of `propose`, for the first draft of a family.

    Args:
        store: of the run.
        assignment: what is asked for.
        can_rate: whether a rater is configured, so that a rated family may be proposed.
    """
    parent = parent_of(store, assignment)
    return {
        "assignment": assignment_view(assignment),
        "parent": family_view(parent) if parent else None,
        "parent_code": parent.code if parent else None,
        "inspirations": [family_view(store.family(name)) for name in assignment.inspirations],
        "weak_spots": list(assignment.weak_spots),
        "lately_rejected": list(assignment.lately_rejected),
        "taken_names": list(assignment.taken_names),
        "example": worked_example(),
        "can_rate": can_rate,
    }


def shown_to_refiner(last: Draft, rounds_left: int) -> dict[str, object]:
    """The variables of `refine`: the results of the last draft."""
    return {
        "problem": last.problem,
        "gates": gates_view(last.gates) if last.gates else None,
        "critique": critique_view(last.critique) if last.critique else None,
        "answers": answers_view(last.answers),
        "rounds_left": rounds_left,
    }


def last_reply(store: RunStore, last: Draft) -> ChatMessage:
    """The scientist's reply of a round: as parsed, or verbatim where it could not be parsed."""
    return ChatMessage(role="assistant", content=_last_reply(store, last) or EMPTY_REPLY)


def _last_reply(store: RunStore, last: Draft) -> str:
    if last.proposal is not None:
        return Proposal.of(last).model_dump_json(by_alias=True, indent=2)
    replies = [
        call.response
        for call in store.calls("scientist", last.assignment)
        if call.round == last.round and call.response
    ]
    return replies[-1] if replies else ""
