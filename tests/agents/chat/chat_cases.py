"""A chat client in front of a scripted server, and one question to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from agents.chat.client import ChatClient
from agents.chat.endpoints import EndpointsSettings
from agents.chat.structured import Completion
from agents.critic.critique import CritiqueReply
from memory.records import ChatMessage
from memory.store import RunStore
from tests.agents.chat.scripted_server import ScriptedServer

QUESTION = (ChatMessage(role="user", content="Is this family any good? Reply as JSON."),)
GOOD = '{"verdict": "accept", "problems": []}'

Serve = Callable[..., ScriptedServer]


def endpoints(url: str, **own: Any) -> EndpointsSettings:
    quick = {"backoff": 0.001, "longest_pause": 0.05, "timeout": 5.0, "attempts": 3}
    scientist = {"base_url": url, "model": "m", **quick, **own}
    return EndpointsSettings.model_validate({"scientist": scientist})


@asynccontextmanager
async def opened(store: RunStore, url: str, **own: Any) -> AsyncIterator[ChatClient]:
    client = ChatClient(endpoints(url, **own), store)
    try:
        yield client
    finally:
        await client.close()


async def critique(client: ChatClient, **place: Any) -> Completion[CritiqueReply]:
    place = {"assignment": "g0-a00", "seed": 11, **place}
    return await client.complete("critic", "critique", QUESTION, CritiqueReply, **place)
