"""Structured output: the schema that is sent, and the object that is found in what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import TypeVar

from memory.records import Call

T = TypeVar("T", bound=BaseModel, default=BaseModel)
JsonObject = dict[str, Any]

_FENCE = re.compile(r"```[ \t]*+(?:jsonc|json5?)?+[ \t]*+\n?+\s*+(?=\{)", re.IGNORECASE)
"""The quantifiers are possessive, so that no reply can make the search quadratic."""
_BRACE = re.compile(r"(?=\{)")
_DECODER = json.JSONDecoder(strict=False)
"""Line breaks inside strings are accepted: models write them in code."""
_MOST_STARTS = 2_000
"""Braces at which an object may begin, so that a reply of nothing else is soon given up."""
_SHOWN_ERRORS = 6
_DROPPED_BY_STRICT = ("default", "title", "minLength", "maxLength", "examples")
"""What strict servers do not know; pydantic checks the lengths afterwards."""


def response_schema(model: type[BaseModel]) -> tuple[JsonObject, bool]:
    """The JSON schema of a model, and whether it can be sent as `strict`.

    Strict output needs every property required and no free-form object; where the model has one,
    its plain schema is sent instead.
    """
    schema = model.model_json_schema(by_alias=True)
    try:
        strict = _strict(schema)
    except _FreeForm:
        return schema, False
    return strict, True


def parse_object(text: str, model: type[T], *, truncated: bool) -> tuple[T | None, str | None]:
    """Find the object in a reply and validate it.

    The whole text is tried first, then the fenced blocks, then any balanced object; of several the
    last one that fits is taken. In a truncated reply only the whole text counts: what else it
    holds was said on the way.

    Returns:
        The parsed object and None, or None and one paragraph that says what the model has to fix.
    """
    if not text:
        end = "at the token limit" if truncated else "before it answered"
        return None, f"The reply is empty: it ended {end}. Reply with one JSON object."
    whole = _decode(text, 0)
    if whole is not None and not text[whole[1] :].strip():
        return _validate(whole[0], model)
    if truncated:
        return None, (
            "The reply was truncated at the token limit before its JSON object was complete. "
            "Reply again, shorter: only the JSON object, with nothing before it."
        )
    found = list(_objects(text, _FENCE)) or list(_objects(text, _BRACE))
    results = [_validate(candidate, model) for candidate in reversed(found)]
    fitting = next((result for result in results if result[0] is not None), None)
    if fitting is not None:
        return fitting
    if problem := _syntax_problem(text):
        return None, problem
    if results:
        return results[0]
    return None, "The reply holds no complete JSON object. Reply with one JSON object only."


def _validate(candidate: object, model: type[T]) -> tuple[T | None, str | None]:
    try:
        parsed = model.model_validate(candidate)
        parsed.model_dump_json()
        return parsed, None
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
    except PydanticSerializationError:
        # JSON can spell half of a surrogate pair; no file and no database can hold it.
        return None, "The JSON object holds half of a surrogate pair; write the character itself."
    lines = [f"{_location(item['loc'])}: {item['msg']}" for item in errors[:_SHOWN_ERRORS]]
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return None, f"The JSON object does not fit the schema. {'; '.join(lines)}."


def _location(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path) or "the object"


def _objects(text: str, start: re.Pattern[str]) -> Iterator[JsonObject]:
    """Objects that begin where `start` matches; the inside of a found one is not searched again.

    Decoding from the opening brace, without a look at the closing fence, lets strings hold fences.
    """
    position = 0
    for _ in range(_MOST_STARTS):
        match = start.search(text, position)
        if match is None:
            return
        decoded = _decode(text, match.end())
        if decoded is None:
            position = max(match.end(), match.start() + 1)
        else:
            yield decoded[0]
            position = decoded[1]


def _decode(text: str, start: int) -> tuple[JsonObject, int] | None:
    """The object that begins at `start` and the index after it, or None."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return (value, end) if isinstance(value, dict) else None


def _syntax_problem(text: str) -> str | None:
    """What breaks the object that the reply begins with, or that its first fence holds."""
    fence = _FENCE.search(text)
    start = 0 if text.startswith("{") else fence.end() if fence else None
    if start is None:
        return None
    try:
        _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        return f"The reply is not valid JSON: {error.msg} at {place}."
    except (ValueError, RecursionError) as error:
        return f"The reply is not valid JSON: {error}."
    return None


class _FreeForm(Exception):
    """A schema that strict mode cannot express."""


def _strict(schema: Mapping[str, Any]) -> JsonObject:
    """A copy of a schema in the strict dialect.

    Raises:
        _FreeForm: at an object with free keys, or at a value of any type.
    """
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    strict = {key: value for key, value in schema.items() if key not in _DROPPED_BY_STRICT}
    if not strict.keys() & {"type", "anyOf", "enum", "const"}:
        raise _FreeForm
    if strict.get("type") == "object":
        if "properties" not in strict:
            raise _FreeForm
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    for key in ("properties", "$defs"):
        if key in strict:
            strict[key] = {name: _strict(inner) for name, inner in strict[key].items()}
    if "items" in strict:
        strict["items"] = _strict(strict["items"])
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(inner) for inner in strict["anyOf"]]
    return strict


@dataclass(frozen=True, slots=True)
class Completion(Generic[T]):
    """What came of a call.

    Attributes:
        call_key: under which the run store holds the transcript.
        text: what the model said, reasoning left out.
        parsed: the object that was asked for; None if there is none, or none was asked for.
        problem: why the reply is of no use, in words for the model that has to fix it.
        replayed: whether the call was made in an earlier session and found on record.
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
