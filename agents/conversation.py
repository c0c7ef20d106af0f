"""What is said to scientist and critic in each round, made from the records alone."""

from __future__ import annotations

from dataclasses import dataclass

from agents.schemas import Proposal
from agents.views import (
    answers_view,
    assignment_view,
    critique_view,
    family_view,
    gates_view,
    proposal_view,
)
from memory.records import Assignment, ChatMessage, Draft, Family
from memory.store import RunStore
from prompts import PromptLibrary, Rendered, worked_example

EMPTY_REPLY = "(an empty reply)"
"""Stands for a reply without text, since servers refuse empty messages."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, and the hash of the prompt file that wrote the last of them."""

    messages: tuple[ChatMessage, ...]
    prompt_hash: str


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
    parent = _parent(store, assignment)
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
    return _conversation(rendered)


def refining(
    store: RunStore, prompts: PromptLibrary, opening: Conversation, last: Draft, rounds_left: int
) -> Conversation:
    """Goes on from the scientist's opening: its last reply, and what came of it."""
    feedback = _conversation(
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


def criticising(
    store: RunStore, prompts: PromptLibrary, assignment: Assignment, draft: Draft
) -> Conversation:
    """Shows a critic the draft, what the gates found and what experts answered."""
    proposal = Proposal.model_validate(draft.proposal)
    parent = _parent(store, assignment)
    assert draft.gates is not None
    rendered = prompts.render(
        "critique",
        assignment=assignment_view(assignment),
        parent=family_view(parent) if parent else None,
        family=proposal_view(proposal),
        code=proposal.code,
        gates=gates_view(draft.gates),
        answers=answers_view(draft.answers),
    )
    return _conversation(rendered)


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


def _parent(store: RunStore, assignment: Assignment) -> Family | None:
    return store.family(assignment.parent) if assignment.parent is not None else None


def _conversation(rendered: Rendered) -> Conversation:
    messages = tuple(ChatMessage(role=role, content=content) for role, content in rendered.messages)
    return Conversation(messages, rendered.hash)
