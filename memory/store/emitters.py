"""Emitters, and the children that they asked for, with what each of these gained."""

from __future__ import annotations

from memory.errors import ConflictError
from memory.records import Emission, Emitter
from memory.store import schema
from memory.store.codec import dump, load
from memory.store.database import Database

_LATER = {"emitters": frozenset({"ended"}), "emissions": frozenset({"value"})}
"""What is known of a record only after it was written, and kept beside it."""


class EmitterTables(Database):
    """All that a search has to remember: what it asked for, and what it was told."""

    def put_emitter(self, emitter: Emitter) -> None:
        """Record a search that begins.

        Raises:
            ConflictError: the id stands for another one already.
        """
        record = dump(emitter, _LATER["emitters"])
        sql = "INSERT OR IGNORE INTO emitters VALUES (?, ?, ?)"
        if self._write(sql, (emitter.id, emitter.ended, record)):
            return
        if self._one("SELECT record FROM emitters WHERE id = ?", (emitter.id,)) != (record,):
            raise ConflictError(f"emitter {emitter.id} is recorded with other content")

    def end_emitter(self, emitter_id: str, reason: str) -> None:
        """Record why a search is over; the first reason stays."""
        sql = "UPDATE emitters SET ended = ? WHERE id = ? AND ended IS NULL"
        self._write(sql, (reason, emitter_id))

    def emitters(self) -> list[Emitter]:
        """All searches, in no order that means anything."""
        if self.schema_version < schema.WITH_EMITTERS:
            return []
        found = []
        for key, ended, text in self._all("SELECT id, ended, record FROM emitters ORDER BY id"):
            with self._reading("emitters", key):
                emitter = load(Emitter, text)
                if emitter.id != key or not isinstance(ended, str | None):
                    raise ValueError(f"id is {emitter.id!r}, ended is {ended!r}")
            found.append(emitter.model_copy(update={"ended": ended}))
        return found

    def put_emission(self, emission: Emission) -> None:
        """Record a child that was asked for; child and emitter must be recorded already.

        Raises:
            ConflictError: the child was asked for otherwise already.
        """
        record = dump(emission, _LATER["emissions"])
        row = (emission.expert, emission.emitter, emission.value, record)
        sql = "INSERT OR IGNORE INTO emissions (expert, emitter, value, record) VALUES (?, ?, ?, ?)"
        if self._write(sql, row):
            return
        stored = self._one("SELECT record FROM emissions WHERE expert = ?", (emission.expert,))
        if stored != (record,):
            raise ConflictError(f"the emission of {emission.expert} is recorded with other content")

    def tell_emission(self, expert_id: str, value: float) -> None:
        """Record what a child gained; told again, it stays what it was first."""
        sql = "UPDATE emissions SET value = ? WHERE expert = ? AND value IS NULL"
        self._write(sql, (value, expert_id))

    def emissions(self) -> list[Emission]:
        """Every child that was asked for, in the order of asking."""
        if self.schema_version < schema.WITH_EMITTERS:
            return []
        sql = "SELECT seq, expert, emitter, value, record FROM emissions ORDER BY seq"
        found = []
        for seq, expert, emitter, value, text in self._all(sql):
            with self._reading("emissions", seq):
                emission = load(Emission, text)
                if (emission.expert, emission.emitter) != (expert, emitter):
                    raise ValueError(f"it is of {emission.expert!r}, asked by {emission.emitter!r}")
                if not isinstance(value, float | None):
                    raise ValueError(f"value is {value!r}")
            found.append(emission.model_copy(update={"value": value}))
        return found
