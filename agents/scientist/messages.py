"""What a scientist is shown in each round, made from the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents.chat.client import messages_of
from agents.families.proposal import Proposal
from agents.families.views import (
    answers_view,
    assignment_view,
    audience_view,
    critique_view,
    curve_view,
    family_view,
    gates_view,
    parent_of,
    parent_shown,
    rounds_view,
    rule_view,
)
from agents.settings import CalibrationSettings
from memory.records import Assignment, ChatMessage, Draft
from memory.store import RunStore
from prompts import PromptLibrary, worked_example

EMPTY_REPLY = "(an empty reply)"
"""Replaces a reply without text, since servers reject empty messages."""


class Extent(NamedTuple):
    """How much of a conversation is sent.

    Attributes:
        assignment: as it is shown.
        whole: whether all rounds are sent; else the last one, and the others in short.
    """

    assignment: Assignment
    whole: bool


def extents(assignment: Assignment, number: int) -> list[Extent]:
    """What may be sent in a round, the fullest first, for a model to whose context it must fit.

    First the rounds in the middle are left out, then what only inspires or warns.
    """
    without_middle = [Extent(assignment, False)] if number > 1 else []
    return [Extent(assignment, True), *without_middle, Extent(without_extras(assignment), False)]


def without_extras(assignment: Assignment) -> Assignment:
    """The assignment without the parts that only inspire or warn."""
    bare: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("inspirations", "weak_spots", "lately_rejected", "taken_names"), ()
    )
    return assignment.model_copy(update=bare)


def shown_to_proposer(
    store: RunStore,
    assignment: Assignment,
    *,
    can_rate: bool = False,
    rounds_left: int = 0,
    rule: CalibrationSettings,
) -> dict[str, object]:
    """The variables of `propose`, for the first draft of a family.

    Args:
        store: of the run.
        assignment: what is asked for.
        can_rate: whether a rater is configured, so that a rated family may be proposed.
        rounds_left: in which the draft may be changed.
        rule: on difficulty.
    """
    shown = parent_shown(store, assignment)
    parent = parent_of(store, assignment) if shown["parent"] else None
    audience = assignment.audience
    return {
        "assignment": assignment_view(assignment),
        "audience": audience_view(audience) if audience else None,
        "rule": rule_view(rule),
        "rounds_left": rounds_left,
        **shown,
        "parent_code": parent.code if parent else None,
        "inspirations": [family_view(store.family(name)) for name in assignment.inspirations],
        "weak_spots": list(assignment.weak_spots),
        "lately_rejected": list(assignment.lately_rejected),
        "taken_names": list(assignment.taken_names),
        "example": worked_example(),
        "can_rate": can_rate,
    }


def shown_to_refiner(
    last: Draft, rounds_left: int, earlier: Sequence[Draft] = ()
) -> dict[str, object]:
    """The variables of `refine`: the results of a draft.

    Args:
        last: that draft.
        rounds_left: after the one that is asked for.
        earlier: drafts that are summarised, since their rounds are not sent.
    """
    gates = last.gates
    return {
        "problem": last.problem,
        "gates": gates_view(gates) if gates else None,
        "critique": critique_view(last.critique) if last.critique else None,
        "curve": curve_view(last.curve),
        "answers": answers_view(last.answers, gates.instructions if gates else None),
        "earlier": rounds_view(earlier),
        "rounds_left": rounds_left,
    }


def conversation(
    prompts: PromptLibrary,
    store: RunStore,
    opening: Sequence[ChatMessage],
    drafts: Sequence[Draft],
    rounds: int,
    *,
    whole: bool,
) -> list[ChatMessage]:
    """What was said before the results of the last draft: the opening, and every round.

    Args:
        prompts: render the feedback of the rounds between.
        store: has the replies that could not be read.
        opening: the messages of `propose`.
        drafts: all rounds so far, in order.
        rounds: how many refinements there are in all.
        whole: whether the rounds before the last are sent.
    """
    said = list(opening)
    *earlier, last = drafts
    for draft in earlier if whole else ():
        shown = shown_to_refiner(draft, rounds - draft.round - 1)
        said += [last_reply(store, draft), *messages_of(prompts.render("refine", **shown))]
    return [*said, last_reply(store, last)]


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
