"""What came of a call, as read from its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic

from agents.chat.structured import T, parse_object
from memory.records import Call


@dataclass(frozen=True, slots=True)
class Completion(Generic[T]):
    """What came of a call.

    Attributes:
        call_key: under which the run store holds the transcript.
        text: what the model said, reasoning left out.
        parsed: the object that was asked for; None if there is none, or none was asked for.
        problem: why the reply is of no use, in words for the model that has to mend it.
        replayed: whether the call was made in an earlier sitting, and found on record.
    """

    call_key: str
    text: str
    parsed: T | None
    problem: str | None
    replayed: bool = field(default=False, compare=False)


def completion_of(call: Call, schema: type[T] | None, *, replayed: bool) -> Completion[T]:
    """Read a recorded reply; the same record always gives the same completion."""
    text, truncated = call.response or "", call.finish_reason == "length"
    parsed: T | None = None
    problem: str | None = None
    if call.finish_reason == "refusal":
        problem = f"The model refused: {text}"
    elif call.finish_reason == "content_filter":
        problem = "The reply was stopped by the server's content filter."
    elif schema is not None:
        parsed, problem = parse_object(text, schema, truncated=truncated)
    elif truncated:
        problem = "The reply was truncated at the token limit."
    elif not text:
        problem = "The reply is empty."
    return Completion(call.key, text, parsed, problem, replayed)
