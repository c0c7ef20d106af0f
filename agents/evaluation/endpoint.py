"""A model behind an endpoint as one more contender: the big one that a collective is up against."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from agents.chat.client import ChatClient
from agents.chat.endpoints import EndpointSettings, EndpointsSettings
from evolution.engines.base import Ask
from evolution.genome.genome import Genome
from memory.records import ChatMessage, Reply, Sampling
from memory.store import RunStore


class EndpointAnswerer:
    """Answers in the place of the engine, as one model for whatever genome.

    Args:
        store: where its calls are recorded, and found again.
        settings: the endpoint; temperature and token limit are those of the evaluation.
    """

    def __init__(self, store: RunStore, settings: EndpointSettings) -> None:
        self._store = store
        self._settings = settings
        self._clients: dict[Sampling, ChatClient] = {}

    @property
    def profile(self) -> str:
        """Endpoint and model."""
        return json.dumps(
            {
                "engine": "endpoint",
                "url": self._settings.base_url,
                "model": self._settings.model,
            },
            sort_keys=True,
        )

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        """Ask the model; log-probabilities are not asked for.

        Raises:
            ChatError: the endpoint fails or refuses; what was answered before is kept.
        """
        return list(
            await asyncio.gather(*(self._one(prompt, ask.sampling) for prompt in ask.prompts))
        )

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()

    async def _one(self, prompt: Sequence[ChatMessage], sampling: Sampling) -> Reply:
        completion = await self._client(sampling).complete(
            "scientist", "evaluate", prompt, None, assignment="evaluate"
        )
        call = self._store.call(completion.call_key)
        assert call is not None, "a completion is on record"
        return Reply(
            text=completion.text,
            tokens_in=call.tokens_in,
            tokens_out=call.tokens_out,
            finish_reason="length" if call.finish_reason == "length" else "stop",
            seconds=call.seconds,
        )

    def _client(self, sampling: Sampling) -> ChatClient:
        if sampling not in self._clients:
            settings = self._settings.model_copy(update=sampling.model_dump())
            self._clients[sampling] = ChatClient(EndpointsSettings(scientist=settings), self._store)
        return self._clients[sampling]
