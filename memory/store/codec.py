"""Records to JSON text and back, without loss.

Not pydantic's own JSON: it refuses the lone surrogates that a language model may emit, and turns a
NaN into null. Escaped ASCII keeps both.
"""

from __future__ import annotations

import json
from typing import TypeVar

from memory.records import Json, Record

AnyRecord = TypeVar("AnyRecord", bound=Record)


def dump(record: Record, exclude: frozenset[str] = frozenset()) -> str:
    """A record as compact ASCII JSON, its fields in the order of their definition."""
    return dump_json(record.model_dump(exclude=set(exclude) or None))


def load(kind: type[AnyRecord], text: str) -> AnyRecord:
    """The record that `dump` wrote."""
    return kind.model_validate(json.loads(text))


def dump_json(value: object) -> str:
    """Any JSON value as compact ASCII text."""
    return json.dumps(value, separators=(",", ":"))


def load_json(text: str) -> Json:
    """The value that `dump_json` wrote."""
    value: Json = json.loads(text)
    return value
