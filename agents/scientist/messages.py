"""What is said to scientist and critic in each round, made from the records alone."""

from __future__ import annotations

from agents.chat.conversation import Conversation
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
from prompts import PromptLibrary, worked_example

EMPTY_REPLY = "(an empty reply)"
"""Stands for a reply without text, since servers refuse empty messages."""


def without_extras(assignment: Assignment) -> Assignment:
    """The assignment without all that is shown only to inspire or to warn."""
    bare: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("inspirations", "weak_spots", "lately_rejected", "taken_names"), ()
    )
    return assignment.model_copy(update=bare)


def proposing(
    store: RunStore, prompts: PromptLibrary, assignment: Assignment, *, can_rate: bool = False
) -> Conversation:
    """Asks a scientist for the first form of a family; a rated one where somebody rates."""
    parent = parent_of(store, assignment)
    rendered = prompts.render(
        "propose",
        assignment=assignment_view(assignment),
        parent=family_view(parent) if parent else None,
        parent_code=parent.code if parent else None,
        inspirations=[family_view(store.family(name)) for name in assignment.inspirations],
        weak_spots=list(assignment.weak_spots),
        lately_rejected=list(assignment.lately_rejected),
        taken_names=list(assignment.taken_names),
        example=worked_example(),
        can_rate=can_rate,
    )
    return Conversation.of(rendered)


def refining(
    store: RunStore, prompts: PromptLibrary, opening: Conversation, last: Draft, rounds_left: int
) -> Conversation:
    """Goes on from the scientist's opening: its last reply, and what came of it."""
    feedback = Conversation.of(
        prompts.render(
            "refine",
            problem=last.problem,
            gates=gates_view(last.gates) if last.gates else None,
            critique=critique_view(last.critique) if last.critique else None,
            answers=answers_view(last.answers),
            rounds_left=rounds_left,
        )
    )
    said = ChatMessage(role="assistant", content=_last_words(store, last) or EMPTY_REPLY)
    return Conversation((*opening.messages, said, *feedback.messages), feedback.prompt_hash)


def _last_words(store: RunStore, last: Draft) -> str:
    """The scientist's own reply of that round: as parsed, or verbatim where it was unreadable."""
    if last.proposal is not None:
        return Proposal.model_validate(last.proposal).model_dump_json(by_alias=True, indent=2)
    replies = [
        call.response
        for call in store.calls("scientist", last.assignment)
        if call.round == last.round and call.response
    ]
    return replies[-1] if replies else ""
