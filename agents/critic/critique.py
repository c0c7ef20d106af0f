"""The critic: another agent that sees code, gates and answers, and accepts, refines or rejects."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agents.chat.conversation import Conversation
from agents.families.proposal import Proposal
from agents.families.views import (
    answers_view,
    assignment_view,
    family_view,
    gates_view,
    parent_of,
    proposal_view,
)
from memory.records import Assignment, Draft, Verdict
from memory.store import RunStore
from prompts import PromptLibrary


class CritiqueReply(BaseModel):
    """A critic's reply; mirrors `memory.records.Critique`."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    problems: list[str]


def criticising(
    store: RunStore, prompts: PromptLibrary, assignment: Assignment, draft: Draft
) -> Conversation:
    """Shows a critic the draft, what the gates found and what experts answered."""
    proposal = Proposal.model_validate(draft.proposal)
    parent = parent_of(store, assignment)
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
    return Conversation.of(rendered)
