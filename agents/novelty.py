"""The question whether a family is interestingly new beside its nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from agents.chat import ChatClient
from agents.errors import ContextLengthError
from agents.schemas import NoveltyReply
from agents.views import family_view
from memory.records import ChatMessage, Family
from prompts import PromptLibrary


async def interestingly_new(
    chat: ChatClient,
    prompts: PromptLibrary,
    family: Family,
    neighbours: Sequence[Family],
    *,
    assignment: str | None = None,
    seed: int | None = None,
) -> NoveltyReply | None:
    """Ask the critic's model; None if its reply is unreadable.

    Neighbours that are too many for the model's context are reduced to the nearest.

    Args:
        chat: how the agents speak.
        prompts: where the prompt `novelty` is found.
        family: the candidate.
        neighbours: families of the pool that lie nearest to it, the nearest first.
        assignment: that the candidate grew out of.
        seed: for the sampling of the reply.

    Raises:
        EndpointError, ContextLengthError, BudgetExhausted: as the chat client.
    """
    try:
        return await _ask(chat, prompts, family, neighbours, assignment, seed)
    except ContextLengthError:
        if len(neighbours) < 2:
            raise
        return await _ask(chat, prompts, family, neighbours[:1], assignment, seed)


async def _ask(
    chat: ChatClient,
    prompts: PromptLibrary,
    family: Family,
    neighbours: Sequence[Family],
    assignment: str | None,
    seed: int | None,
) -> NoveltyReply | None:
    rendered = prompts.render(
        "novelty",
        family=family_view(family),
        neighbours=[family_view(neighbour) for neighbour in neighbours],
    )
    completion = await chat.complete(
        "critic",
        "novelty",
        [ChatMessage(role=role, content=content) for role, content in rendered.messages],
        NoveltyReply,
        assignment=assignment,
        seed=seed,
        prompt_hash=rendered.hash,
    )
    return completion.parsed
