"""What is sent, and the plainer ways to say it to servers that do not take every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.chat.failures import RefusedRequest
from agents.chat.structured import JsonObject
from memory.hashing import json_hash
from memory.records import ChatMessage


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One question to a model, before any server's limits are known.

    Attributes:
        sampling: `temperature`, `top_p` and `max_tokens`, as far as they are set.
        schema_name: name of the wanted object; "" where free text is wanted.
        schema: its JSON schema, None where free text is wanted.
        strict: whether the server may be held to the schema strictly.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Mapping[str, float]
    seed: int | None = None
    schema_name: str = ""
    schema: JsonObject | None = None
    strict: bool = False

    def key(self, *, place: Sequence[str | int | None]) -> str:
        """Hash of everything that is asked for, and of the place in the run that it is for.

        What a server refuses, and is then asked without, is part of it all the same: a run that
        goes on finds its calls before it knows that.
        """
        return json_hash(
            {
                "model": self.model,
                "messages": [message.model_dump() for message in self.messages],
                "sampling": dict(self.sampling),
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
        refused: what it was found not to take: names of parameters, and forms of structured output.
    """

    refused: frozenset[str] = frozenset()

    def payload(self, request: EndpointRequest) -> dict[str, Any]:
        """The body of the request."""
        parameters: dict[str, Any] = dict(request.sampling)
        if request.seed is not None:
            parameters["seed"] = request.seed
        body = {name: value for name, value in parameters.items() if name not in self.refused}
        if "max_tokens" in parameters.keys() - body.keys():
            body["max_completion_tokens"] = parameters["max_tokens"]
        if form := self._format(request):
            body["response_format"] = form
        messages = [message.model_dump() for message in request.messages]
        return {"model": request.model, "messages": messages, **body}

    def _format(self, request: EndpointRequest) -> Mapping[str, Any] | None:
        if request.schema is None or "json_object" in self.refused:
            return None
        if "json_schema" in self.refused:
            return {"type": "json_object"}
        schema = {
            "name": request.schema_name,
            "schema": request.schema,
            "strict": request.strict,
        }
        return {"type": "json_schema", "json_schema": schema}

    def changed(self, request: EndpointRequest) -> tuple[str, ...]:
        """What of a request is left out, or said in another way, because it was refused before."""
        asked = {*request.sampling, *(["seed"] if request.seed is not None else [])}
        if request.schema is not None:
            asked |= {"json_schema", "json_object"}
        return tuple(sorted(asked & self.refused))

    def plainer(self, request: EndpointRequest, refusal: RefusedRequest) -> Dialect | None:
        """What to try after a refusal, or None if a plainer request would not help.

        Each refusal takes one thing away, so there is an end. Servers name what they dislike in
        many ways, or not at all, so every bad request that asked for structured output is tried
        again without it.
        """
        if refusal.status not in (400, 422, 501) or refusal.is_context_length:
            return None
        sent = self.payload(request)
        named = [name for name in refusal.parameters if name in sent]
        if named[:1] == ["temperature"] and "top_p" in named:
            # Some models take either, but not both.
            return self._without("top_p")
        if named:
            return self._without(named[0])
        if "response_format" not in sent or refusal.is_unknown_model:
            return None
        return self._without(sent["response_format"]["type"])

    def _without(self, name: str) -> Dialect:
        return replace(self, refused=self.refused | {name})
