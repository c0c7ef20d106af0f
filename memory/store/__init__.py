"""The run store: everything that a run has to remember, in one SQLite file.

store                RunStore, which joins the tables below
database, schema     opening, transactions, exactly-once steps, migrations
lock                 one process writes to a run, and others see which
experts, families, embeddings, assignments, answers, calls, journal   the tables
shared               SharedBook: answers that several runs share
codec                records to JSON and back, refused where they are damaged
facts                what the facts about a run have to look like
"""

from memory.store.store import (
    AssignmentOutcome,
    Event,
    FamilyEvent,
    RoleTotals,
    RunStore,
    StoredSpan,
)

__all__ = ["AssignmentOutcome", "Event", "FamilyEvent", "RoleTotals", "RunStore", "StoredSpan"]
