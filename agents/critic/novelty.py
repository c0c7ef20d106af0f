"""The question whether a family is interestingly new beside its nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agents.chat.client import ChatClient, Place
from agents.context import RunContext
from agents.errors import ContextLengthError, EndpointError
from agents.families.lifecycle import condemned
from agents.families.views import family_view
from memory.records import Assignment, Family, Rejection
from memory.spans import span


class NoveltyReply(BaseModel):
    """Whether a family is interestingly new beside its nearest neighbours."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["new", "known"]
    reason: str


async def interestingly_new(
    chat: ChatClient, family: Family, neighbours: Sequence[Family], place: Place
) -> NoveltyReply | None:
    """Ask the critic's model; None if its reply cannot be parsed.

    Neighbours that are too many for the model's context are reduced to the nearest.

    Args:
        chat: the client that is asked.
        family: the candidate.
        neighbours: the most similar families of the pool, the nearest first.
        place: the assignment of the candidate.

    Raises:
        EndpointError, ContextLengthError, BudgetExhausted: as the chat client.
    """
    try:
        return await _ask(chat, family, neighbours, place)
    except ContextLengthError:
        if len(neighbours) < 2:
            raise
        return await _ask(chat, family, neighbours[:1], place)


async def _ask(
    chat: ChatClient, family: Family, neighbours: Sequence[Family], place: Place
) -> NoveltyReply | None:
    completion = await chat.ask(
        "novelty",
        place,
        {
            "family": family_view(family),
            "neighbours": [family_view(neighbour) for neighbour in neighbours],
        },
        NoveltyReply,
    )
    return completion.parsed


async def novelty_verdict(
    context: RunContext, assignment: Assignment, family: Family
) -> Rejection | None:
    """None for a new family, else why it is rejected.

    A harder or easier family may resemble its parent, and other levels of its own program. A
    program that was condemned is not tried again at its level.
    """
    with span("decision", "novelty", assignment=assignment.id, input=family.name) as work:
        rejection = await _verdict(context, assignment, family)
        work.set(output=f"{rejection.reason}: {rejection.detail}" if rejection else "new")
        return rejection


async def _verdict(context: RunContext, assignment: Assignment, family: Family) -> Rejection | None:
    store, lineage = context.store, list[str]()
    of_parent = assignment.parent is not None and assignment.kind in ("harder", "easier")
    for other in store.families_of_program(family.code_hash) if family.generative else ():
        if of_parent:
            lineage.append(other.id)
        there = store.family_status(other.id) != "retired" or other.id in condemned(store)
        if other.level == family.level and there:
            detail = f"{other.name} ({other.id}) is this program at this level"
            return Rejection(reason="duplicate", detail=detail)
    if of_parent and assignment.parent is not None:
        parent = store.family(assignment.parent)
        if parent.instructions == family.instructions:
            return Rejection(reason="duplicate", detail=f"it asks what {parent.name} asks")
        lineage.append(parent.id)
    neighbours = context.novelty.nearest(
        family, k=context.config.novelty.neighbours, without=lineage
    )
    if not neighbours:
        return None
    closest = neighbours[0]
    name = context.store.family(closest.family_id).name
    detail = f"similarity {closest.similarity:.3f} to {name} ({closest.family_id})"
    if closest.similarity >= context.config.novelty.duplicate_similarity:
        return Rejection(reason="duplicate", detail=detail)
    if closest.similarity < context.config.novelty.similar_similarity:
        return None
    similar = [context.store.family(neighbour.family_id) for neighbour in neighbours]
    try:
        place = Place(assignment.id, seed=assignment.rng_seed)
        reply = await interestingly_new(context.chat, family, similar, place)
    except ContextLengthError as error:
        return Rejection(reason="context_length", detail=str(error))
    except EndpointError as error:
        await context.chat.raise_if_down(error)
        return Rejection(reason="endpoint", detail=str(error))
    if reply is not None and reply.decision == "new":
        return None
    reason = reply.reason if reply is not None else "the critic's reply could not be parsed"
    return Rejection(reason="not_novel", detail=f"{detail}: {reason}"[:300])
