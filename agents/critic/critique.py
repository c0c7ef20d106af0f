"""The critic: another agent that sees code, gates and answers, and accepts, refines or rejects."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agents.chat.client import ChatClient, Place
from agents.chat.structured import Completion
from agents.families.proposal import Proposal
from agents.families.views import (
    answers_view,
    assignment_view,
    audience_view,
    curve_view,
    gates_view,
    parent_shown,
    proposal_view,
    rounds_view,
    rule_view,
)
from agents.settings import CalibrationSettings
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


def shown_to_critic(
    store: RunStore,
    assignment: Assignment,
    draft: Draft,
    *,
    rounds_left: int = 0,
    rule: CalibrationSettings,
) -> dict[str, object]:
    """The variables of the prompt: the draft, what was found about it, and the rounds before it.

    Args:
        store: of the run.
        assignment: what was asked for.
        draft: the last one.
        rounds_left: in which the scientist may still change it.
        rule: on difficulty.
    """
    proposal, audience = Proposal.of(draft), assignment.audience
    earlier = [other for other in store.drafts(assignment.id) if other.round < draft.round]
    assert draft.gates is not None
    return {
        "assignment": assignment_view(assignment),
        "audience": audience_view(audience) if audience else None,
        "rule": rule_view(rule),
        **parent_shown(store, assignment),
        "family": proposal_view(proposal),
        "code": proposal.code,
        "gates": gates_view(draft.gates),
        "curve": curve_view(draft.curve),
        "answers": answers_view(draft.answers, draft.gates.instructions),
        "earlier": rounds_view(earlier),
        "rounds_left": rounds_left,
    }


async def criticise(
    chat: ChatClient,
    store: RunStore,
    assignment: Assignment,
    draft: Draft,
    *,
    rounds_left: int = 0,
    rule: CalibrationSettings,
) -> Completion[CritiqueReply]:
    """Ask the critic for a verdict; a reply that cannot be parsed is requested once more.

    Raises:
        EndpointError, ContextLengthError, BudgetExhausted: as the chat client.
    """
    variables = shown_to_critic(store, assignment, draft, rounds_left=rounds_left, rule=rule)
    for sample in range(CRITIC_ATTEMPTS):
        seed = derive_seed(assignment.rng_seed, draft.round, "critique", sample)
        place = Place(assignment.id, draft.round, sample, seed)
        reply = await chat.ask("critique", place, variables, CritiqueReply)
        if reply.parsed is not None:
            break
    return reply
