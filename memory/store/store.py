"""The run store: everything that a run has to remember, in one SQLite file.

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

from memory.store.answers import AnswerTables
from memory.store.assignments import AssignmentOutcome, AssignmentTables
from memory.store.calls import RoleTotals, TranscriptTables
from memory.store.embeddings import EmbeddingTables
from memory.store.emitters import EmitterTables
from memory.store.experts import PopulationTables
from memory.store.families import FamilyEvent, PoolTables
from memory.store.journal import Event, JournalTables, StoredSpan

__all__ = ["AssignmentOutcome", "Event", "FamilyEvent", "RoleTotals", "RunStore", "StoredSpan"]


class RunStore(
    PopulationTables,
    PoolTables,
    EmbeddingTables,
    EmitterTables,
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
