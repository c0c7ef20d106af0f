"""Facts about the run as a whole, its events, and its spans."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import get_args

from pydantic import Field

from memory.records import Eliminated, EventKind, Happened, Json, Record
from memory.store.codec import dump_json, load_json
from memory.store.database import Database, SqlRow, matching
from memory.store.facts import check_fact

_HAPPENED: dict[str, type[Record]] = {each.kind: each for each in get_args(Happened)}


class Event(Record):
    """Something that happened in the run, for people and viewers.

    Attributes:
        generation: of the step in which it happened, None outside of one.
        at: seconds since the epoch.
    """

    kind: str
    payload: Json
    generation: int | None
    at: float


class StoredSpan(Record):
    """A piece of work with a beginning and an end.

    Attributes:
        id: span id; `parent` is the id of the span around it, `trace` that of the whole tree.
        started_ns: nanoseconds since the epoch, as is `ended_ns`.
        error: what ended it early, None if it went well.
        attributes: under OpenInference names (see `memory.spans`).
    """

    id: str
    trace: str
    parent: str | None = None
    kind: str
    name: str
    started_ns: int
    ended_ns: int
    error: str | None = None
    attributes: dict[str, Json] = Field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.started_ns) / 1e9


_INSERT_SPAN = "INSERT OR IGNORE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def insert_spans(connection: sqlite3.Connection, spans: Sequence[StoredSpan]) -> None:
    """Write spans through a connection of one's own, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_INSERT_SPAN, [_span_row(span) for span in spans])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class JournalTables(Database):
    """Meta, events and spans."""

    def put_meta(self, key: str, value: Json) -> None:
        """Record a fact about the run, in place of an earlier one."""
        self._write(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (key, dump_json(value)),
        )

    def meta(self, key: str) -> Json:
        """A fact about the run, None if it is not recorded."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        if row is None:
            return None
        with self._reading("meta", key):
            value = load_json(row[0])
            check_fact(key, value)
        return value

    def add_event(self, event: Happened) -> None:
        """Append an event; inside `once` it is appended exactly once."""
        self._write(
            "INSERT INTO events (at, generation, kind, payload) VALUES (?, ?, ?, ?)",
            (time.time(), self._generation, event.kind, dump_json(event.model_dump(mode="json"))),
        )

    def eliminated(self) -> dict[str, Eliminated]:
        """Children that left a race, by id."""
        found = (Eliminated.model_validate(event.payload) for event in self.events("eliminated"))
        return {event.expert: event for event in found}

    def events(self, kind: EventKind | None = None) -> list[Event]:
        """All events, or those of one kind, in order."""
        where, values = matching(kind=kind)
        sql = f"SELECT seq, kind, payload, generation, at FROM events {where}ORDER BY seq"
        found = []
        for seq, name, text, generation, at in self._all(sql, values):
            with self._reading("events", seq):
                payload = load_json(text)
                if name in _HAPPENED:
                    _HAPPENED[name].model_validate(payload)
                event = Event(kind=name, payload=payload, generation=generation, at=at)
            found.append(event)
        return found

    def spans(self, kind: str | None = None, name: str | None = None) -> list[StoredSpan]:
        """Ended spans of a kind and a name (or of any), by their start."""
        where, values = matching(kind=kind, name=name)
        sql = (
            "SELECT id, trace, parent, kind, name, started_ns, ended_ns, error, attributes "
            f"FROM spans {where}ORDER BY started_ns, id"
        )
        return [self._span(row) for row in self._all(sql, values)]

    def _span(self, row: SqlRow) -> StoredSpan:
        with self._reading("spans", row[0]):
            fields = dict(zip(StoredSpan.model_fields, row, strict=True))
            return StoredSpan.model_validate({**fields, "attributes": load_json(row[-1])})

    def phase_seconds(self) -> dict[str, float]:
        """Wall-clock seconds in which each phase was under way, over all processes of the run.

        Spans of one phase that overlap, such as those of scientists at work beside each other,
        count once. Different phases may overlap. The first that ran is first.
        """
        sql = (
            "SELECT id, name, started_ns, ended_ns FROM spans WHERE kind = 'phase' "
            "ORDER BY started_ns, ended_ns"
        )
        total: dict[str, int] = {}
        until: dict[str, int] = {}
        for key, name, started, ended in self._all(sql):
            with self._reading("spans", key):
                if not isinstance(name, str):
                    raise ValueError(f"name is {name!r}")
                begin = max(started, until.get(name, started))
                total[name] = total.get(name, 0) + max(0, ended - begin)
                until[name] = max(ended, until.get(name, ended))
        return {name: nanoseconds / 1e9 for name, nanoseconds in total.items()}


def _span_row(span: StoredSpan) -> tuple[object, ...]:
    return (
        span.id,
        span.trace,
        span.parent,
        span.kind,
        span.name,
        span.started_ns,
        span.ended_ns,
        span.error,
        dump_json(span.attributes),
    )
