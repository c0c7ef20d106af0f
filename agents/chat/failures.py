"""What can go wrong with one request: failures that pass by themselves, refusals that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from time import time

import openai

_PASSING = frozenset({408, 429})
"""Status codes below 500 that are worth another attempt."""
_SHOWN = 300
_CONTEXT_LENGTH = re.compile(
    r"context[ _](length|window|size|limit)|maximum model length|prompt is too long|too many tokens"
    r"|reduce the length",
    re.IGNORECASE,
)
_PARAMETERS = {
    name: re.compile(rf"\b{spelled}\b", re.IGNORECASE)
    for name, spelled in {
        "temperature": "temperature",
        "top_p": "top[ _-]?p",
        "max_tokens": "max[ _-]?((completion|output)[ _-]?)?tokens",
        "seed": "seed",
    }.items()
}
"""Optional parameters of a request, as servers spell them."""
_OUTPUT_LIMIT = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
_UNKNOWN_MODEL = re.compile(
    r"model.{0,120}(does not exist|not found|not exist|unknown)|unknown model", re.I | re.S
)


class TransientFailure(Exception):
    """A failure that another attempt may not have.

    Attributes:
        detail: one line.
        retry_after: seconds that the server asks to wait, if it does.
    """

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        self.detail = one_line(detail)
        super().__init__(self.detail)
        self.retry_after = retry_after


class RefusedRequest(Exception):
    """A status code that another attempt will meet again.

    Attributes:
        status: HTTP status code.
        message: what the server says, one line.
        code: the server's own error code, or "".
        about: where the server names what it dislikes: the parameter alone, if it says so.
    """

    def __init__(self, status: int, message: str, code: str = "", about: str = "") -> None:
        self.status = status
        self.message = one_line(message)
        self.code = code
        self.about = about or message
        super().__init__(f"HTTP {status}: {self.message}")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of the request that the server names, in the order in which it does."""
        found = {
            name: match.start()
            for name, spelled in _PARAMETERS.items()
            if (match := spelled.search(self.about))
        }
        return tuple(sorted(found, key=found.__getitem__))

    @property
    def is_output_limit(self) -> bool:
        """Whether the model was cut off at that limit, which most servers do not call an error."""
        return self.status == 400 and _OUTPUT_LIMIT.search(self.message) is not None

    @property
    def is_context_length(self) -> bool:
        """Whether the conversation and the answer do not fit the model's context."""
        return self.status in (400, 413, 422) and (
            "context" in self.code or _CONTEXT_LENGTH.search(self.message) is not None
        )

    @property
    def is_unknown_model(self) -> bool:
        """Whether the server has no model of this name, or no such path."""
        return self.status == 404 or (
            self.status in (400, 422) and _UNKNOWN_MODEL.search(self.message) is not None
        )


def from_status(error: openai.APIStatusError) -> TransientFailure | RefusedRequest:
    """Sort an HTTP error."""
    status, message = error.status_code, server_message(error)
    code = error.code if isinstance(error.code, str) else ""
    passing = status in _PASSING or status >= 500
    if passing and code != "insufficient_quota":
        wait = retry_after(error.response.headers.get("retry-after"))
        return TransientFailure(f"HTTP {status}: {message}", wait)
    return RefusedRequest(status, message, code, _about(error) or message)


def from_connection(error: openai.APIConnectionError) -> TransientFailure:
    """A connection that could not be made, or was cut."""
    cause = error.__cause__ or error
    return TransientFailure(f"no connection: {str(cause).strip() or type(cause).__name__}")


def retry_after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or an HTTP date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (ValueError, OverflowError):  # of a year that no calendar has
        return None


def server_message(error: openai.APIStatusError) -> str:
    """The server's own words, from the several shapes in which servers put them."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body.get("error") or body
    return str(body or error.message).strip() or type(error).__name__


def _about(error: openai.APIStatusError) -> str:
    """The parameters that the error names apart from its message; "" where it names none."""
    named: object = error.param
    if isinstance(named, str) and named not in ("", "None", "null"):
        return named
    return " ".join(_locations(error.body))


def _locations(body: object, depth: int = 4) -> Iterator[str]:
    """The places of the request that pydantic complains about, wherever a server puts its list."""
    if isinstance(body, dict) and isinstance(place := body.get("loc"), list):
        yield ".".join(map(str, place))
        return
    inner = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    if depth:
        for item in inner:
            yield from _locations(item, depth - 1)


def one_line(text: str) -> str:
    """Whitespace collapsed, cut to what fits an error message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…"
