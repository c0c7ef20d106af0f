"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.responses import JSONResponse

from agents.errors import BudgetExhausted, UnknownModelError
from evolution.errors import PromptTooLongError, SchemaError
from memory.errors import AcdcError

UNSUPPORTED = "unsupported"
"""Code, and pydantic's type, of errors about fields that we cannot honour."""
DRAIN_SECONDS = 10
"""When a client that met a server on its way out may try the next one."""


@dataclass
class HttpRefusal(Exception):
    """A request that is not answered, and why.

    Attributes:
        status: HTTP status.
        kind: OpenAI's `type`.
        code: OpenAI's `code`; `param` is the field at fault.
        headers: that go with it.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The whole reply."""
        return JSONResponse(self.body(), self.status, headers=dict(self.headers))


def invalid(message: str, param: str | None = None, code: str | None = None) -> HttpRefusal:
    """400: what was asked for cannot be done as it was asked."""
    return HttpRefusal(400, message, code=code, param=param)


def queue_full(retry_after: int) -> HttpRefusal:
    """429: the queue is full."""
    return HttpRefusal(
        429,
        f"the queue is full; try again in {retry_after} s",
        kind="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(retry_after)},
    )


def shutting_down() -> HttpRefusal:
    """503: the server drains."""
    return HttpRefusal(
        503,
        "the server is shutting down",
        kind="server_error",
        code="shutting_down",
        headers={"Retry-After": str(DRAIN_SECONDS), "Connection": "close"},
    )


def of_error(error: AcdcError) -> HttpRefusal:
    """What the rooms raise, as the client receives it."""
    if isinstance(error, UnknownModelError):
        return HttpRefusal(404, str(error), code="model_not_found", param="model")
    if isinstance(error, PromptTooLongError):
        return invalid(str(error), "messages", "context_length_exceeded")
    if isinstance(error, SchemaError):
        return invalid(str(error), code="invalid_json_schema")
    if isinstance(error, BudgetExhausted):
        return HttpRefusal(429, str(error), kind="insufficient_quota", code="insufficient_quota")
    return HttpRefusal(500, str(error), kind="server_error", code="internal_error")


_NO_OBJECT = ("model_attributes_type", "model_type", "missing")


def _path(error: Mapping[str, Any], body: Any) -> Iterator[str]:
    """The keys to what is wrong. Of a union, pydantic names the branch too: nobody wrote that."""
    place: Sequence[str | int] = error["loc"][1:]
    for number, part in enumerate(place, start=1):
        if _holds(body, part):
            body = body[part]
            yield str(part)
        elif error["type"] == "missing" and number == len(place):
            yield str(part)


def _holds(body: object, part: str | int) -> bool:
    if isinstance(body, list):
        return isinstance(part, int) and part < len(body)
    return isinstance(body, dict) and part in body


def of_validation(errors: Sequence[Any], body: object) -> HttpRefusal:
    """The first thing that is wrong with a request's body."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return invalid(f"the body is not JSON: {first['ctx']['error']}", code="invalid_json")
    if first["loc"] == ("body",) and first["type"] in _NO_OBJECT:
        return invalid("the body has to be a JSON object, with Content-Type: application/json")
    param = ".".join(_path(first, body)) or None
    if first["type"] == "extra_forbidden":
        return invalid(f"unknown field: {param}", param, "unknown_parameter")
    if first["type"] == UNSUPPORTED:
        return invalid(first["msg"], first["ctx"]["name"], UNSUPPORTED)
    said = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] in _NO_OBJECT[:2]:
        said = "Input should be an object"
    return invalid(f"{param}: {said}" if param else said, param)
