"""Verdicts of the rater: an LLM that judges what statistics and scorers leave open."""

from __future__ import annotations

from collections.abc import Sequence

from agents.chat import ChatClient
from agents.errors import ContextLengthError, EndpointError
from memory.records import ChatMessage, Expert
from prompts import PromptLibrary

SHOWN_REPLIES = 3


async def rater_says_gibberish(
    chat: ChatClient, prompts: PromptLibrary, expert: Expert, replies: Sequence[str]
) -> bool:
    """Whether the rater finds that an expert has lost its language.

    An unreachable rater and a reply without a verdict count as coherent: a failure is no verdict.
    """
    rendered = prompts.render("gibberish", replies=list(replies)[:SHOWN_REPLIES])
    messages = [ChatMessage(role=role, content=content) for role, content in rendered.messages]
    try:
        completion = await chat.complete(
            "rater",
            "gibberish",
            messages,
            None,
            assignment=expert.id,
            prompt_hash=rendered.hash,
        )
    except (EndpointError, ContextLengthError):
        return False
    return completion.text.strip().rstrip(".").casefold().endswith("decision: gibberish")
