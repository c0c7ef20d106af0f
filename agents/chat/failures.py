"""What can go wrong with one request: failures that pass by themselves, refusals that do not."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from time import time

import openai

_PASSING = frozenset({408, 429})
"""Status codes below 500 that are worth another attempt."""
_SHOWN = 300
_CONTEXT_LENGTH = re.compile(
    r"context[ _](length|window|size)|maximum model length|prompt is too long|too many tokens"
    r"|reduce the length",
    re.IGNORECASE,
)
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
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class RefusedRequest(Exception):
    """A status code that another attempt will meet again.

    Attributes:
        status: HTTP status code.
        message: what the server says, one line.
        code: the server's own error code, or "".
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.code = code

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
    return RefusedRequest(status, message, code)


def from_connection(error: openai.APIConnectionError) -> TransientFailure:
    """A connection that could not be made, or was cut."""
    cause = error.__cause__ or error
    return TransientFailure(f"no connection: {one_line(str(cause)) or type(cause).__name__}")


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
    return one_line(str(body or error.message)) or type(error).__name__


def one_line(text: str) -> str:
    """Whitespace collapsed, cut to what fits an error message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…"
