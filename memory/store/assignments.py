"""What scientists were asked for, what they drafted, and what came of it."""

from __future__ import annotations

from typing import NamedTuple, get_args

from memory.errors import ConflictError, StoreError
from memory.records import Assignment, AssignmentStatus, Draft, Rejection
from memory.store.codec import Table, dump
from memory.store.database import Database, matching

_ASSIGNMENTS = Table(
    "assignments", Assignment, {"id": "id", "generation": "generation", "position": "index"}
)
_DRAFTS = Table("drafts", Draft, {"assignment": "assignment", "round": "round"}, key=2)
_STATUSES = get_args(AssignmentStatus)
_PROGRESS: dict[AssignmentStatus, int] = {"open": 0, "candidate": 1, "accepted": 2, "rejected": 2}


class AssignmentOutcome(NamedTuple):
    """What became of an assignment: `rejection` if it was rejected, `family` if accepted."""

    status: AssignmentStatus
    rejection: Rejection | None
    family: str | None


class AssignmentTables(Database):
    """The work of the scientists, round by round."""

    def put_assignment(self, assignment: Assignment) -> None:
        """Record an assignment as open. Recording it again changes nothing.

        Raises:
            ConflictError: if the id stands for another assignment already.
        """
        record = dump(assignment)
        added = self._write(
            "INSERT OR IGNORE INTO assignments (id, generation, position, status, record) "
            "VALUES (?, ?, ?, 'open', ?)",
            (assignment.id, assignment.generation, assignment.index, record),
        )
        if added:
            return
        stored = self._one("SELECT record FROM assignments WHERE id = ?", (assignment.id,))
        if stored != (record,):
            raise ConflictError(f"assignment {assignment.id} is recorded with other content")

    def assignment(self, assignment_id: str) -> Assignment:
        """One assignment.

        Raises:
            StoreError: if it is not recorded.
        """
        found = self._record(_ASSIGNMENTS, "WHERE id = ?", (assignment_id,))
        if found is None:
            raise StoreError(f"assignment {assignment_id} is not recorded in {self.path}")
        return found

    def assignments(
        self, generation: int | None = None, status: AssignmentStatus | None = None
    ) -> list[Assignment]:
        """Assignments of a generation and a status (or of any), by generation and index."""
        self._check_column("assignments", "status", _STATUSES)
        where, values = matching(generation=generation, status=status)
        return self._records(_ASSIGNMENTS, where + "ORDER BY generation, position, id", values)

    def assignment_status(self, assignment_id: str) -> AssignmentOutcome:
        """What became of an assignment: (status, rejection, family id).

        Raises:
            StoreError: if it is not recorded.
        """
        sql = "SELECT status, reason, detail, family FROM assignments WHERE id = ?"
        row = self._one(sql, (assignment_id,))
        if row is None:
            raise StoreError(f"assignment {assignment_id} is not recorded in {self.path}")
        status, reason, detail, family = row
        with self._reading("assignments", assignment_id):
            if status not in _STATUSES or (status == "rejected") != (reason is not None):
                raise ValueError(f"status is {status!r} with reason {reason!r}")
            if not isinstance(family, str | None):
                raise ValueError(f"family is {family!r}")
            rejection = None if reason is None else Rejection(reason=reason, detail=detail)
        return AssignmentOutcome(status, rejection, family)

    def finish_assignment(
        self,
        assignment_id: str,
        status: AssignmentStatus,
        rejection: Rejection | None = None,
        family_id: str | None = None,
    ) -> None:
        """Move an assignment on: open -> candidate -> accepted or rejected.

        A scientist that is run again after a kill may report what is known already; going back
        to an earlier status, or to the same one, changes nothing.

        Raises:
            ConflictError: if it was decided the other way before.
            ValueError: if a rejection has no reason, or anything else has one.
        """
        if (status == "rejected") != (rejection is not None):
            raise ValueError(f"assignment {assignment_id}: {status} with rejection {rejection}")
        present = self.assignment_status(assignment_id).status
        if _PROGRESS[present] == 2 == _PROGRESS[status] and present != status:
            raise ConflictError(f"assignment {assignment_id} is {present}, it cannot be {status}")
        if _PROGRESS[status] <= _PROGRESS[present]:
            return
        reason, detail = (rejection.reason, rejection.detail) if rejection else (None, None)
        self._write(
            "UPDATE assignments SET status = ?, reason = ?, detail = ?, family = ? WHERE id = ?",
            (status, reason, detail, family_id, assignment_id),
        )

    def rejection_counts(self) -> dict[str, int]:
        """How many assignments were rejected for each reason, the most frequent first."""
        sql = (
            "SELECT reason, COUNT(*) FROM assignments WHERE status = 'rejected' "
            "GROUP BY reason ORDER BY COUNT(*) DESC, reason"
        )
        counts: dict[str, int] = dict(self._all(sql))
        with self._reading("assignments", "of status rejected"):
            if not all(isinstance(reason, str) for reason in counts):
                raise ValueError("a reason is no text")
        return counts

    def put_draft(self, draft: Draft) -> None:
        """Keep one round of an assignment, in place of what this round held before."""
        self._write(
            "INSERT INTO drafts VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET record = excluded.record",
            (draft.assignment, draft.round, dump(draft)),
        )

    def drafts_of(self, family_id: str) -> list[Draft]:
        """The rounds from which a family came, in order; none for one that was given."""
        where = "WHERE assignment IN (SELECT id FROM assignments WHERE family = ?) ORDER BY round"
        return self._records(_DRAFTS, where, (family_id,))

    def drafts(self, assignment_id: str) -> list[Draft]:
        """The rounds of an assignment, in order."""
        return self._records(_DRAFTS, "WHERE assignment = ? ORDER BY round", (assignment_id,))
