"""What is sent, and the plainer ways to say it to servers that do not know every parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agents.chat.failures import RefusedRequest
from agents.chat.structured import JsonObject
from memory.hashing import json_hash
from memory.records import ChatMessage, Sampling

_SEED = re.compile(r"\bseed\b")


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One question to a model, before any server's limits are known.

    Attributes:
        schema_name: name of the wanted object; "" where free text is wanted.
        schema: its JSON schema, None where free text is wanted.
        strict: whether the server may be held to the schema strictly.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    seed: int | None = None
    schema_name: str = ""
    schema: JsonObject | None = None
    strict: bool = False

    def key(self, *, place: Sequence[str | int | None]) -> str:
        """Hash of everything that is sent, and of the place in the run that it is sent for."""
        return json_hash(
            {
                "model": self.model,
                "messages": [message.model_dump() for message in self.messages],
                "sampling": self.sampling.model_dump(),
                "seed": self.seed,
                "schema": self.schema,
                "place": list(place),
            },
            length=32,
        )


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one server understands; found out by being refused, and remembered.

    Attributes:
        response_format: the strongest form of structured output that it takes.
        limit: under which name it takes the token limit.
        seed: whether it takes a seed.
    """

    response_format: Literal["json_schema", "json_object", "text"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True

    def payload(self, request: EndpointRequest) -> dict[str, Any]:
        """The body of the request."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [message.model_dump() for message in request.messages],
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            self.limit: request.sampling.max_tokens,
        }
        if self.seed and request.seed is not None:
            body["seed"] = request.seed
        if request.schema is not None and self.response_format != "text":
            body["response_format"] = self._format(request)
        return body

    def _format(self, request: EndpointRequest) -> Mapping[str, Any]:
        if self.response_format == "json_object":
            return {"type": "json_object"}
        schema = {
            "name": request.schema_name,
            "schema": request.schema,
            "strict": request.strict,
        }
        return {"type": "json_schema", "json_schema": schema}

    def plainer(self, request: EndpointRequest, refused: RefusedRequest) -> Dialect | None:
        """What to try after a refusal, or None if a plainer request would not help.

        Servers name the parameter that they dislike in many ways, or not at all, so every bad
        request that asked for structured output is tried again without it.
        """
        if refused.status not in (400, 422, 501) or refused.is_context_length:
            return None
        if self.limit == "max_tokens" and "max_completion_tokens" in refused.message:
            return replace(self, limit="max_completion_tokens")
        if self.seed and request.seed is not None and _SEED.search(refused.message):
            return replace(self, seed=False)
        if request.schema is None or self.response_format == "text" or refused.is_unknown_model:
            return None
        formats: dict[str, Literal["json_object", "text"]] = {
            "json_schema": "json_object",
            "json_object": "text",
        }
        return replace(self, response_format=formats[self.response_format])
