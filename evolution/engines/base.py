"""The interface of engines: a lease materialises one expert, which then answers prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from evolution.genome.genome import Genome
from memory.records import ChatMessage, Reply, Sampling

Chat = Sequence[ChatMessage]
"""One prompt: a conversation that waits for the assistant's turn."""
Manner = tuple[bool, str, bool, bool, bool, str | None]
"""Prompts of the same manner can be answered together; first, whether they are urgent."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Prompts for one expert, and how they are to be answered.

    Attributes:
        prompts: conversations that end with the user's turn.
        sampling: how tokens are drawn, the same for all.
        seeds: one per prompt; required if the temperature is above 0.
        logprobs: whether replies carry the mean log-probability of their tokens and, where the
            engine sees whole distributions, their self-certainty.
        tokens: whether replies carry their tokens, each with its log-probability.
        json_schema: JSON schema, as a text, that replies are constrained to; None constrains
            nothing. Only the vLLM engine can.
        urgent: whether it goes before what is not, where others wait for the engine too.
    """

    prompts: Sequence[Chat]
    sampling: Sampling
    seeds: Sequence[int] | None = None
    logprobs: bool = False
    tokens: bool = False
    json_schema: str | None = None
    urgent: bool = False

    @property
    def manner(self) -> Manner:
        """See `Manner`."""
        sampling = self.sampling.model_dump_json()
        alike = (self.seeds is None, self.logprobs, self.tokens, self.json_schema)
        return (self.urgent, sampling, *alike)


class Lease(Protocol):
    """One expert in an engine, for as long as the lease is held."""

    async def answer(self, ask: Ask) -> list[Reply]:
        """Answer each prompt; what else is asked in the same call does not matter to a reply.

        Returns:
            Replies in the order of the prompts.

        Raises:
            PromptTooLongError: a prompt and its answer do not fit the model's context.
            SchemaError: the engine cannot constrain replies to the JSON schema.
            EngineError: the engine cannot continue, or the lease has ended.
        """
        ...

    async def score(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of given replies, token by token, at temperature 1 (teacher forcing).

        Args:
            prompts: conversations that end with the user's turn.
            texts: what is taken to have been replied to each; no end token is added.

        Returns:
            For each prompt, one value per token of its text.

        Raises:
            PromptTooLongError: a prompt and its text do not fit the model's context.
            EngineError: the engine cannot continue, or the lease has ended.
        """
        ...


class Engine(Protocol):
    """Holds the weights of one expert at a time and answers as that expert."""

    @property
    def profile(self) -> str:
        """JSON of everything besides genome, prompt and sampling that can change an answer."""
        ...

    def lease(self, genome: Genome) -> AbstractAsyncContextManager[Lease]:
        """Materialise an expert; until the lease ends, no other expert can answer."""
        ...

    async def close(self) -> None:
        """Stop, after the current lease has ended; no further lease is given."""
        ...
