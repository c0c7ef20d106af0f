"""The transcript of every LLM call; each message is stored once, by its content."""

from __future__ import annotations

import hashlib
from typing import TypedDict, cast

from memory.records import Call, ChatMessage, Role
from memory.store.codec import dump, load, load_json
from memory.store.database import Database, SqlRow


class RoleTotals(TypedDict):
    """What one role has used up so far."""

    calls: int
    tokens_in: int
    tokens_out: int
    cached: int
    failed: int


_APART = frozenset({"messages", "cached"})
"""Fields of a call that are not in its record: kept in columns or tables of their own."""

_SELECT = """
SELECT calls.seq, calls.record, calls.cached, messages.record
FROM calls
LEFT JOIN call_messages ON call_messages.call = calls.seq
LEFT JOIN messages ON messages.hash = call_messages.message
"""


class TranscriptTables(Database):
    """Who asked which model what, and what it said."""

    def put_call(self, call: Call) -> None:
        """Keep a call. A success replaces a failure under the same key; nothing replaces a success.

        The count of cached uses is kept, whatever `call.cached` is.
        """
        with self.transaction():
            stored = self._one("SELECT seq, failed FROM calls WHERE key = ?", (call.key,))
            if stored is None:
                self._insert_call(call)
            elif stored[1]:
                self._write(
                    "UPDATE calls SET tokens_in = ?, tokens_out = ?, failed = ?, record = ? "
                    "WHERE seq = ?",
                    (
                        call.tokens_in,
                        call.tokens_out,
                        int(call.response is None),
                        dump(call, _APART),
                        stored[0],
                    ),
                )

    def call(self, key: str) -> Call | None:
        """The call under this key, failed or not, with its whole transcript."""
        rows = self._all(_SELECT + "WHERE calls.key = ? ORDER BY call_messages.position", (key,))
        return next(iter(_group(rows)), None)

    def calls(self, role: Role | None = None, assignment: str | None = None) -> list[Call]:
        """All calls, or those of one role or assignment, in the order in which they ended."""
        where = (
            "WHERE (?1 IS NULL OR calls.role = ?1) AND (?2 IS NULL OR calls.assignment = ?2) "
            "ORDER BY calls.seq, call_messages.position"
        )
        return _group(self._all(_SELECT + where, (role, assignment)))

    def count_cached(self, key: str) -> None:
        """Count one more use of a stored response."""
        self._write("UPDATE calls SET cached = cached + 1 WHERE key = ?", (key,))

    def call_totals(self) -> dict[str, RoleTotals]:
        """Calls, tokens, cached uses and failures of every role that has called."""
        sql = (
            "SELECT role, COUNT(*), SUM(tokens_in), SUM(tokens_out), SUM(cached), SUM(failed) "
            "FROM calls GROUP BY role ORDER BY role"
        )
        names = ("calls", "tokens_in", "tokens_out", "cached", "failed")
        rows = self._all(sql)
        return {role: cast(RoleTotals, dict(zip(names, n, strict=True))) for role, *n in rows}

    def _insert_call(self, call: Call) -> None:
        self._write(
            "INSERT INTO calls (key, role, purpose, assignment, tokens_in, tokens_out, failed, "
            "cached, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                call.key,
                call.role,
                call.purpose,
                call.assignment,
                call.tokens_in,
                call.tokens_out,
                int(call.response is None),
                call.cached,
                dump(call, _APART),
            ),
        )
        sql = "INSERT INTO call_messages SELECT seq, ?, ? FROM calls WHERE key = ?"
        for position, message in enumerate(call.messages):
            text = dump(message)
            digest = hashlib.sha256(text.encode()).hexdigest()[:32]
            self._write("INSERT OR IGNORE INTO messages VALUES (?, ?)", (digest, text))
            self._write(sql, (position, digest, call.key))


def _group(rows: list[SqlRow]) -> list[Call]:
    """Calls out of joined rows (call, record, cached, message), one row per message."""
    heads: dict[int, tuple[str, int]] = {}
    messages: dict[int, list[ChatMessage]] = {}
    for call, record, cached, message in rows:
        heads[call] = (record, cached)
        spoken = messages.setdefault(call, [])
        if message is not None:
            spoken.append(load(ChatMessage, message))
    return [
        Call.model_validate(
            {**_fields(record), "messages": tuple(messages[call]), "cached": cached}
        )
        for call, (record, cached) in heads.items()
    ]


def _fields(record: str) -> dict[str, object]:
    fields = load_json(record)
    assert isinstance(fields, dict)
    return dict(fields)
