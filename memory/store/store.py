"""The run store: everything that a run has to remember, in one SQLite file. The room's door.

`run.db` is the truth about a run. Chroma, the family folders and the checkpoints of the graph can
be made anew from it, or are checked against it. Writes are idempotent: the same key with the same
content changes nothing, and decisions are taken inside `once`.

    with RunStore.open(Path("runs/quickstart")) as store:
        with store.once("selection", 3) as due:
            if due:
                store.put_archive(3, entries)
"""

from __future__ import annotations

import secrets
from collections import Counter

from memory.records import Record
from memory.store.answers import AnswerTables
from memory.store.assignments import AssignmentTables, Outcome
from memory.store.calls import RoleTotals, TranscriptTables
from memory.store.embeddings import EmbeddingTables
from memory.store.experts import PopulationTables
from memory.store.families import FamilyEvent, PoolTables
from memory.store.journal import Event, JournalTables, StoredSpan

__all__ = ["Event", "FamilyEvent", "Outcome", "RoleTotals", "RunStore", "StoredSpan", "Summary"]


class Summary(Record):
    """The run in numbers, cheap enough to be asked for on every redraw of a screen.

    Attributes:
        generations: generations whose selection is done.
        experts: all that were ever kept.
        families: status -> number, of all that were ever accepted.
        generators: procedural generator -> number of families that it stands behind.
        assignments: status -> number.
        rejected: reason -> number of assignments.
        revised: accepted families whose last round was not their first.
        answers: stored answers; `grades` likewise.
    """

    generations: int
    experts: int
    families: dict[str, int]
    generators: dict[str, int]
    assignments: dict[str, int]
    rejected: dict[str, int]
    revised: int
    answers: int
    grades: int


class RunStore(
    PopulationTables,
    PoolTables,
    EmbeddingTables,
    AssignmentTables,
    AnswerTables,
    TranscriptTables,
    JournalTables,
):
    """All that is kept of one run; see `Database` for opening, transactions and `once`."""

    def run_id(self) -> str:
        """A random name of this run, made when it is first asked for; stays when it is moved."""
        known = self.meta("run_id")
        if not isinstance(known, str):
            known = secrets.token_hex(8)
            self.put_meta("run_id", known)
        return known

    def summary_counts(self) -> Summary:
        """The run in numbers."""
        return Summary(
            generations=self._count("SELECT COUNT(*) FROM archives"),
            experts=self._count("SELECT COUNT(*) FROM experts"),
            families=self._tally("families", "status"),
            generators=self._generators(),
            assignments=self._tally("assignments", "status"),
            rejected=self.rejection_counts(),
            revised=self._count(
                "SELECT COUNT(*) FROM assignments WHERE status = 'accepted' AND 0 < "
                "(SELECT MAX(round) FROM drafts WHERE assignment = assignments.id)"
            ),
            answers=self._count("SELECT COUNT(*) FROM answers"),
            grades=self._count("SELECT COUNT(*) FROM grades"),
        )

    def _generators(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for names, families in self._tally("families", "generator").items():
            counts.update(dict.fromkeys(filter(None, names.split(",")), families))
        return dict(sorted(counts.items()))

    def _count(self, sql: str) -> int:
        row = self._one(sql)
        return 0 if row is None else int(row[0])

    def _tally(self, table: str, column: str) -> dict[str, int]:
        sql = f"SELECT {column}, COUNT(*) FROM {table} GROUP BY {column} ORDER BY {column}"
        return dict(self._all(sql))
