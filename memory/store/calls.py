"""The transcript of every LLM call; each message is stored once, by its content."""

from __future__ import annotations

import hashlib
from typing import TypedDict, cast, get_args

from memory.records import Call, ChatMessage, Role
from memory.store.codec import dump, load, load_json
from memory.store.database import Database, SqlRow, matching


class RoleTotals(TypedDict):
    """What one role has used up so far; `attempts` counts the requests of all its calls."""

    calls: int
    attempts: int
    tokens_in: int
    tokens_out: int
    cached: int
    failed: int


_APART = frozenset({"messages", "cached"})
"""Fields of a call that are not in its record: kept in columns or tables of their own."""

_SELECT = """
SELECT calls.key, calls.role, calls.purpose, calls.assignment, calls.record, calls.cached,
    call_messages.message, messages.record
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
        return next(iter(self._group(rows)), None)

    def calls(self, role: Role | None = None, assignment: str | None = None) -> list[Call]:
        """All calls, or those of one role or assignment, in the order in which they ended."""
        where, values = matching(role=role, assignment=assignment)
        order = "ORDER BY calls.seq, call_messages.position"
        return self._group(self._all(_SELECT + where + order, values))

    def count_cached(self, key: str) -> None:
        """Count one more use of a stored response."""
        self._write("UPDATE calls SET cached = cached + 1 WHERE key = ?", (key,))

    def call_totals(self) -> dict[str, RoleTotals]:
        """Calls, attempts, tokens, cached uses and failures of every role that has called."""
        # A record that is damaged is one attempt here; whoever reads the call itself is told.
        attempts = "IIF(JSON_VALID(record), COALESCE(JSON_EXTRACT(record, '$.attempts'), 1), 1)"
        sql = (
            f"SELECT role, COUNT(*), SUM({attempts}), SUM(tokens_in), SUM(tokens_out), "
            "SUM(cached), SUM(failed) FROM calls GROUP BY role ORDER BY role"
        )
        names = ("calls", "attempts", "tokens_in", "tokens_out", "cached", "failed")
        totals = {}
        for role, *numbers in self._all(sql):
            with self._reading("calls", f"of role {role!r}"):
                if role not in get_args(Role):
                    raise ValueError("there is no such role")
            totals[role] = cast(RoleTotals, dict(zip(names, numbers, strict=True)))
        return totals

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
            digest = _digest(text)
            self._write("INSERT OR IGNORE INTO messages VALUES (?, ?)", (digest, text))
            self._write(sql, (position, digest, call.key))

    def _group(self, rows: list[SqlRow]) -> list[Call]:
        """Calls out of joined rows, one row per message; a call without any has one row as well."""
        heads: dict[str, SqlRow] = {}
        messages: dict[str, list[ChatMessage]] = {}
        for key, role, purpose, assignment, record, cached, digest, message in rows:
            heads[key] = (role, purpose, assignment, record, cached)
            spoken = messages.setdefault(key, [])
            if digest is not None:
                spoken.append(self._message(digest, message))
        return [self._joined(key, head, tuple(messages[key])) for key, head in heads.items()]

    def _joined(self, key: str, head: SqlRow, messages: tuple[ChatMessage, ...]) -> Call:
        role, purpose, assignment, record, cached = head
        with self._reading("calls", key):
            fields = load_json(record)
            if not isinstance(fields, dict):
                raise ValueError("no object")
            call = Call.model_validate({**fields, "messages": messages, "cached": cached})
            said = (call.key, call.role, call.purpose, call.assignment)
            if said != (key, role, purpose, assignment):
                raise ValueError(f"it is {said}")
        return call

    def _message(self, digest: str, text: str | None) -> ChatMessage:
        with self._reading("messages", digest):
            message = load(ChatMessage, text or "")
            if _digest(text or "") != digest:
                raise ValueError("its text is not that of its hash")
        return message


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
