"""Families and what became of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import get_args

from memory.errors import ConflictError, StoreError
from memory.hashing import text_hash
from memory.records import LEARNING, Family, FamilyStatus, Instance, Record
from memory.store import schema
from memory.store.codec import Table, dump
from memory.store.database import Database, matching

_FAMILIES = Table(
    "families", Family, {"id": "id", "generation": "generation", "generator": "generator"}
)
_INSTANCES = Table(
    "instances", Instance, {"family": "family", "period": "period", "name": "name"}, key=3
)
_STATUSES = get_args(FamilyStatus)


class FamilyEvent(Record):
    """One change of a family's status, or what happened to it besides.

    Attributes:
        generation: of the step in which it happened, None outside of one.
        at: seconds since the epoch.
    """

    family: str
    status: FamilyStatus
    reason: str
    generation: int | None
    at: float


class PoolTables(Database):
    """The pool of families: all that were ever accepted, each with its status."""

    def put_family(self, family: Family, status: FamilyStatus = "active") -> None:
        """Accept a family. Accepting it again changes nothing, its status included.

        Raises:
            ConflictError: if the id stands for another family already.
        """
        record = dump(family)
        with self.transaction():
            added = self._write(
                "INSERT OR IGNORE INTO families (id, generation, status, generator, record) "
                "VALUES (?, ?, ?, ?, ?)",
                (family.id, family.generation, status, family.generator, record),
            )
            if added:
                self._add_family_event(family.id, status, "accepted")
                return
        if self._one("SELECT record FROM families WHERE id = ?", (family.id,)) != (record,):
            raise ConflictError(f"family {family.id} is recorded with other content")

    def family(self, family_id: str) -> Family:
        """One family.

        Raises:
            StoreError: if it is not recorded.
        """
        found = self._record(_FAMILIES, "WHERE id = ?", (family_id,))
        if found is None:
            raise StoreError(f"family {family_id} is not recorded in {self.path}")
        return self._with_own_code(found)

    def families(self, status: FamilyStatus | None = None) -> list[Family]:
        """All families, or those of one status, in the order in which they were accepted."""
        self._check_column("families", "status", _STATUSES)
        where, values = matching(status=status)
        found = self._records(_FAMILIES, where + "ORDER BY seq", values)
        return [self._with_own_code(each) for each in found]

    def families_of_program(self, code_hash: str) -> list[Family]:
        """The families of one program, at whatever level, in the order of their acceptance."""
        # No index may call a function here (PRAGMA trusted_schema); to look for a text is quick.
        found = self._records(_FAMILIES, "WHERE instr(record, ?) ORDER BY seq", (code_hash,))
        return [self._with_own_code(each) for each in found if each.code_hash == code_hash]

    def newest_names(self, most: int) -> list[str]:
        """Names of the families that were accepted last, so many at most, the oldest first."""
        sql = "SELECT id, json_extract(record, '$.name') FROM families ORDER BY seq DESC LIMIT ?"
        found = []
        for family, name in self._all(sql, (most,)):
            with self._reading("families", family):
                if not isinstance(name, str):
                    raise ValueError(f"name is {name!r}")
            found.append(name)
        return found[::-1]

    def family_status(self, family_id: str) -> FamilyStatus:
        """The present status of a family.

        Raises:
            StoreError: if it is not recorded.
        """
        row = self._one("SELECT status FROM families WHERE id = ?", (family_id,))
        if row is None:
            raise StoreError(f"family {family_id} is not recorded in {self.path}")
        with self._reading("families", family_id):
            if row[0] not in _STATUSES:
                raise ValueError(f"status is {row[0]!r}")
        status: FamilyStatus = row[0]
        return status

    def set_family_status(self, family_id: str, status: FamilyStatus, reason: str) -> None:
        """Change a family's status and record why; the present status again is no change."""
        if self.family_status(family_id) == status:
            return
        with self.transaction():
            self._write("UPDATE families SET status = ? WHERE id = ?", (status, family_id))
            self._add_family_event(family_id, status, reason)

    def put_instances(self, instances: Sequence[Instance]) -> None:
        """Record what was drawn of one family for one period; a second time changes nothing."""
        with self.transaction():
            for position, each in enumerate(instances):
                row = (each.family, each.period, position, each.name, dump(each))
                self._write("INSERT OR IGNORE INTO instances VALUES (?, ?, ?, ?, ?)", row)

    def instances(self, family_id: str | None = None, period: int | None = None) -> list[Instance]:
        """Fresh instances of a family or of all, of one period or of all, as they were drawn."""
        if self.schema_version < schema.WITH_PERIODS:
            return []
        where, values = matching(family=family_id, period=period)
        return self._records(_INSTANCES, where + "ORDER BY family, period, position", values)

    def learnt_instances(self) -> list[Instance]:
        """Instances of all families that were learnt from, in whatever generation."""
        if self.schema_version < schema.WITH_PERIODS:
            return []
        return self._records(_INSTANCES, "WHERE period <= ?", (LEARNING,))

    def note_family(self, family_id: str, reason: str) -> None:
        """Record that something more happened to a family, which keeps its status.

        Raises:
            StoreError: if it is not recorded.
        """
        with self.transaction():
            self._add_family_event(family_id, self.family_status(family_id), reason)

    def family_events(self, family_id: str | None = None) -> list[FamilyEvent]:
        """What happened to one family, or to all, in order."""
        where, values = matching(family=family_id)
        sql = "SELECT seq, family, status, reason, generation, at FROM family_events "
        found = []
        rows = self._all(f"{sql}{where}ORDER BY seq", values)
        for seq, family, status, reason, generation, at in rows:
            with self._reading("family_events", seq):
                event = FamilyEvent(
                    family=family, status=status, reason=reason, generation=generation, at=at
                )
            found.append(event)
        return found

    def _with_own_code(self, family: Family) -> Family:
        """The family, if its code is that of its hash, under which its grades are kept.

        Raises:
            DamagedError: it is not.
        """
        with self._reading("families", family.id):
            if text_hash(family.code) != family.code_hash:
                raise ValueError(f"its code is not that of its code_hash, {family.code_hash}")
        return family

    def _add_family_event(self, family_id: str, status: FamilyStatus, reason: str) -> None:
        self._write(
            "INSERT INTO family_events (family, at, generation, status, reason) "
            "VALUES (?, ?, ?, ?, ?)",
            (family_id, time.time(), self._generation, status, reason),
        )
