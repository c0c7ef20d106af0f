"""The critic: another agent that sees code, gates and answers, and accepts, refines or rejects."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agents.chat.client import ChatClient, Place
from agents.chat.structured import Completion
from agents.families.proposal import Proposal
from agents.families.views import (
    answers_view,
    assignment_view,
    family_view,
    gates_view,
    parent_of,
    proposal_view,
)
from memory.randomness import derive_seed
from memory.records import Assignment, Draft, Verdict
from memory.store import RunStore

CRITIC_ATTEMPTS = 2
"""How often a critic is asked before unparsable replies end an assignment."""


class CritiqueReply(BaseModel):
    """A critic's reply; mirrors `memory.records.Critique`."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    problems: list[str]


def shown_to_critic(store: RunStore, assignment: Assignment, draft: Draft) -> dict[str, object]:
    """The variables of the prompt: the draft, what the gates found and what experts answered."""
    proposal = Proposal.of(draft)
    parent = parent_of(store, assignment)
    assert draft.gates is not None
    return {
        "assignment": assignment_view(assignment),
        "parent": family_view(parent) if parent else None,
        "family": proposal_view(proposal),
        "code": proposal.code,
        "gates": gates_view(draft.gates),
        "answers": answers_view(draft.answers),
    }


async def criticise(
    chat: ChatClient, store: RunStore, assignment: Assignment, draft: Draft
) -> Completion[CritiqueReply]:
    """Ask the critic for a verdict; a reply that cannot be parsed is requested once more.

    Raises:
        EndpointError, ContextLengthError, BudgetExhausted: as the chat client.
    """
    variables = shown_to_critic(store, assignment, draft)
    for sample in range(CRITIC_ATTEMPTS):
        seed = derive_seed(assignment.rng_seed, draft.round, "critique", sample)
        place = Place(assignment.id, draft.round, sample, seed)
        reply = await chat.ask("critique", place, variables, CritiqueReply)
        if reply.parsed is not None:
            break
    return reply
