"""Records to JSON text and back, without loss, and refused where they are not what was written.

Not pydantic's own JSON: it refuses the lone surrogates that a language model may emit, and turns a
NaN into null. Escaped ASCII keeps both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from memory.errors import DamagedError
from memory.messages import first_problem
from memory.records import Json, Record

AnyRecord = TypeVar("AnyRecord", bound=Record)


def dump(record: Record, exclude: frozenset[str] = frozenset()) -> str:
    """A record as compact ASCII JSON, its fields in the order of their definition."""
    return dump_json(record.model_dump(exclude=set(exclude) or None))


def load(kind: type[AnyRecord], text: str) -> AnyRecord:
    """The record that `dump` wrote.

    Raises:
        ValueError: it did not write this.
    """
    return kind.model_validate(load_json(text))


def dump_json(value: object) -> str:
    """Any JSON value as compact ASCII text."""
    return json.dumps(value, separators=(",", ":"))


def load_json(text: object) -> Json:
    """The value that `dump_json` wrote.

    Raises:
        ValueError: it did not write this.
    """
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("no text in ASCII")
    value: Json = json.loads(text)
    return value


@contextmanager
def reading(place: Path, table: str, key: object) -> Iterator[None]:
    """Reads one record: whatever is wrong with it is said with its place.

    Args:
        place: the database.
        table: of the record.
        key: that tells it from others.

    Raises:
        DamagedError: a ValueError, a TypeError or a RecursionError came up inside.
    """
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise DamagedError(
            f"{place} is damaged in table {table}, record {key} ({problem}): restore the run "
            "folder from a copy"
        ) from error


@dataclass(frozen=True, slots=True)
class Table(Generic[AnyRecord]):
    """A table that keeps records whole, with some of their fields in columns beside them.

    Args:
        name: of the table.
        kind: of its records.
        columns: column -> field of the record that it repeats. The first ones are the key.
        key: how many columns make up the key.
    """

    name: str
    kind: type[AnyRecord]
    columns: Mapping[str, str]
    key: int = 1

    @property
    def select(self) -> str:
        """The beginning of a statement whose rows can be read."""
        return f"SELECT {', '.join(self.columns)}, record FROM {self.name} "

    def read(self, place: Path, row: Sequence[Any]) -> AnyRecord:
        """The record of a row.

        Raises:
            DamagedError: it is none, or says something else than the columns beside it.
        """
        *beside, text = row
        with reading(place, self.name, " ".join(map(str, beside[: self.key]))):
            record = load(self.kind, text)
            for field, value in zip(self.columns.values(), beside, strict=True):
                if getattr(record, field) != value:
                    raise ValueError(f"{field} is {getattr(record, field)!r} and {value!r}")
        return record
