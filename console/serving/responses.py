"""OpenAI's Responses API, of which there is the part about text: its requests and its replies.

Nothing is stored: a conversation is sent again with each request, and no reply is fetched later.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from console.serving.choices import Chosen
from console.serving.failures import HttpRefusal
from console.serving.formats import TextOptions
from console.serving.protocol import IDLE, AnswerRequest
from console.serving.replies import JsonObject, usage
from console.serving.turns import TextPart, Turn, or_else, require_question


class InputPart(TextPart):
    """A piece of a message: of what was asked, or of an earlier reply that is sent back."""

    readable: ClassVar[tuple[str, ...]] = ("input_text", "output_text")


class InputTurn(Turn):
    """One message among the items of an input."""

    type: Literal["message"] = "message"
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputPart], Tag("list")],
        or_else("a text or a list of parts of type 'input_text'"),
    ]

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_items(cls, item: Any) -> Any:
        kind = item.get("type") if isinstance(item, dict) else None
        if isinstance(kind, str) and kind != "message":
            raise ValueError(f"items of type {kind[:40]!r} are not supported, only 'message'")
        return item


class ResponsesRequest(AnswerRequest):
    """Body of /v1/responses."""

    format_field: ClassVar[str] = "text.format"
    idle: ClassVar[frozenset[str]] = IDLE | {"prompt_cache_retention"}
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "background": (None, False),
        "conversation": (None,),
        "include": (None, []),
        "max_tool_calls": (None,),
        "previous_response_id": (None,),
        "prompt": (None,),
        "reasoning": (None, {}),
        "stream_options": (None, {}, {"include_obfuscation": False}, {"include_obfuscation": True}),
        "tools": (None, []),
        "tool_choice": (None, "none", "auto"),
        "top_logprobs": (None, 0),
        "truncation": (None, "disabled"),
    }

    input: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputTurn], Field(min_length=1), Tag("list")],
        or_else("a text or a list of messages"),
    ]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    text: TextOptions | None = None

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> Self:
        require_question(self.turns)
        return self

    @property
    def turns(self) -> list[Turn]:
        """The conversation, with the instructions as its system message."""
        given = self.input
        said = [Turn(role="user", content=given)] if isinstance(given, str) else list[Turn](given)
        told = [] if self.instructions is None else [Turn(role="system", content=self.instructions)]
        return [*told, *said]

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply."""
        return self.max_output_tokens

    @property
    def json_schema(self) -> str | None:
        """JSON schema that a reply is constrained to; None where it is a text of any kind."""
        return None if self.text is None or self.text.format is None else self.text.format.as_schema


@dataclass(frozen=True)
class ResponsesForm:
    """How one request is to be answered."""

    request: ResponsesRequest
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    sentinel: bool = False
    _numbers: count[int] = field(default_factory=count)

    def whole(self, choices: Sequence[Chosen]) -> JsonObject:
        """The object of a reply that is no stream."""
        [chosen] = choices
        used = usage(choices, 1)
        short = chosen.finish_reason == "length"
        told = {"acdc": chosen.answer.as_json()} if self.request.acdc.details else {}
        return {
            **self._response(_status(chosen)),
            "incomplete_details": {"reason": "max_output_tokens"} if short else None,
            "output": [self._message(chosen)],
            "usage": {
                "input_tokens": used["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": used["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": used["total_tokens"],
            },
            **told,
        }

    def begun(self) -> list[JsonObject]:
        """What a stream says before there is an answer."""
        return [
            self._event(f"response.{name}", response=self._response("in_progress"))
            for name in ("created", "in_progress")
        ]

    def chunks(self, chosen: Chosen) -> list[JsonObject]:
        """The answer, in one piece."""
        at = {"output_index": 0}
        within = {**at, "item_id": self._item, "content_index": 0}
        empty = {**self._message(chosen), "status": "in_progress", "content": []}
        return [
            self._event("response.output_item.added", **at, item=empty),
            self._event("response.content_part.added", **within, part=_part("")),
            self._event("response.output_text.delta", **within, delta=chosen.text, logprobs=[]),
            self._event("response.output_text.done", **within, text=chosen.text, logprobs=[]),
            self._event("response.content_part.done", **within, part=_part(chosen.text)),
            self._event("response.output_item.done", **at, item=self._message(chosen)),
        ]

    def ended(self, choices: Sequence[Chosen]) -> list[JsonObject]:
        """What a stream says at its end: all of it."""
        [chosen] = choices
        return [self._event(f"response.{_status(chosen)}", response=self.whole(choices))]

    def failed(self, refusal: HttpRefusal) -> list[JsonObject]:
        """What a stream says where nothing came of it."""
        error = {"code": "server_error", "message": refusal.message}
        response = {**self._response("failed"), "error": error}
        return [self._event("response.failed", response=response)]

    @property
    def _item(self) -> str:
        return f"msg_{self.id}"

    def _text_format(self) -> JsonObject:
        text = self.request.text
        if text is None or text.format is None:
            return {"type": "text"}
        return text.format.model_dump(by_alias=True, exclude_none=True)

    def _event(self, kind: str, **what: Any) -> JsonObject:
        return {"type": kind, "sequence_number": next(self._numbers), **what}

    def _message(self, chosen: Chosen) -> JsonObject:
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": _status(chosen),
            "content": [_part(chosen.text)],
        }

    def _response(self, status: str) -> JsonObject:
        request = self.request
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": {},
            "model": request.model,
            "output": [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": request.temperature,
            "text": {"format": self._text_format()},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None,
        }


def _status(chosen: Chosen) -> Literal["completed", "incomplete"]:
    return "incomplete" if chosen.finish_reason == "length" else "completed"


def _part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
