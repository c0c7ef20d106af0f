"""The tables of `run.db`, as numbered migrations.

A migration is never edited once it is released; a change is a new one at the end of the list. The
number of the last one applied is SQLite's `user_version`, and `application_id` marks the file as
ours. Records are kept whole as JSON in `record`; the other columns exist to be queried.
"""

from __future__ import annotations

import sqlite3

from memory.errors import SchemaError

APPLICATION_ID = 0x41434443
"""The letters ACDC."""

_FIRST = """
CREATE TABLE steps (
    step TEXT NOT NULL, generation INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (step, generation)
) WITHOUT ROWID;

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, generation INTEGER,
    kind TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind);

CREATE TABLE genomes (id TEXT PRIMARY KEY, payload BLOB NOT NULL);

CREATE TABLE experts (
    id TEXT PRIMARY KEY,
    genome_id TEXT NOT NULL REFERENCES genomes (id),
    generation INTEGER NOT NULL, birth INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX experts_by_age ON experts (generation, birth);

CREATE TABLE archives (generation INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE archive_entries (
    generation INTEGER NOT NULL REFERENCES archives (generation),
    expert TEXT NOT NULL REFERENCES experts (id),
    rank INTEGER NOT NULL, fitness REAL NOT NULL, novelty REAL NOT NULL,
    PRIMARY KEY (generation, expert)
) WITHOUT ROWID;

CREATE TABLE families (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL, status TEXT NOT NULL, generator TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX families_by_status ON families (status);
CREATE TABLE family_events (
    seq INTEGER PRIMARY KEY,
    family TEXT NOT NULL REFERENCES families (id),
    at REAL NOT NULL, generation INTEGER,
    status TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX family_events_by_family ON family_events (family);

CREATE TABLE skills (
    expert TEXT NOT NULL REFERENCES experts (id),
    family TEXT NOT NULL REFERENCES families (id),
    passed INTEGER NOT NULL,
    PRIMARY KEY (expert, family)
) WITHOUT ROWID;

CREATE TABLE assignments (
    id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL, position INTEGER NOT NULL,
    status TEXT NOT NULL, reason TEXT, detail TEXT,
    family TEXT REFERENCES families (id) DEFERRABLE INITIALLY DEFERRED,
    record TEXT NOT NULL
);
CREATE INDEX assignments_by_place ON assignments (generation, position);
CREATE TABLE drafts (
    assignment TEXT NOT NULL REFERENCES assignments (id),
    round INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (assignment, round)
) WITHOUT ROWID;

CREATE TABLE answers (
    key TEXT PRIMARY KEY, genome_id TEXT NOT NULL, instance_hash TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX answers_by_genome ON answers (genome_id, instance_hash);
CREATE TABLE grades (
    key TEXT PRIMARY KEY, answer_key TEXT NOT NULL REFERENCES answers (key),
    passed INTEGER NOT NULL, record TEXT NOT NULL
);
CREATE INDEX grades_by_answer ON grades (answer_key);

CREATE TABLE messages (hash TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL, purpose TEXT NOT NULL, assignment TEXT,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
    failed INTEGER NOT NULL, cached INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX calls_by_role ON calls (role);
CREATE INDEX calls_by_assignment ON calls (assignment);
CREATE TABLE call_messages (
    call INTEGER NOT NULL REFERENCES calls (seq),
    position INTEGER NOT NULL,
    message TEXT NOT NULL REFERENCES messages (hash),
    PRIMARY KEY (call, position)
) WITHOUT ROWID;

CREATE TABLE spans (
    id TEXT PRIMARY KEY, trace TEXT NOT NULL, parent TEXT,
    kind TEXT NOT NULL, name TEXT NOT NULL,
    started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL,
    error TEXT, attributes TEXT NOT NULL
);
CREATE INDEX spans_by_kind ON spans (kind, name);
CREATE INDEX spans_by_start ON spans (started_ns);
"""

_EMBEDDINGS = """
CREATE TABLE embeddings (
    embedder TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text)
) WITHOUT ROWID;
"""

_MEASURE = """
CREATE TABLE counts (
    expert TEXT NOT NULL REFERENCES experts (id),
    family TEXT NOT NULL REFERENCES families (id),
    period INTEGER NOT NULL,
    passes INTEGER NOT NULL, asked INTEGER NOT NULL,
    PRIMARY KEY (expert, family, period)
) WITHOUT ROWID;
INSERT INTO counts
SELECT expert, family, IIF(json_extract(record, '$.seed') IS NULL, -1, -2), passed, 1
FROM skills LEFT JOIN families ON families.id = family;
DROP TABLE skills;
ALTER TABLE counts RENAME TO skills;

CREATE TABLE instances (
    family TEXT NOT NULL REFERENCES families (id),
    period INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (family, period, position)
) WITHOUT ROWID;

CREATE TABLE finals (
    expert TEXT NOT NULL REFERENCES experts (id), temperature REAL NOT NULL,
    family TEXT NOT NULL REFERENCES families (id), instance TEXT NOT NULL,
    passes INTEGER NOT NULL, asked INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (expert, temperature, family, instance)
) WITHOUT ROWID;
"""

_EMITTERS = """
CREATE TABLE emitters (id TEXT PRIMARY KEY, ended TEXT, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE emissions (
    seq INTEGER PRIMARY KEY,
    expert TEXT NOT NULL UNIQUE REFERENCES experts (id),
    emitter TEXT NOT NULL REFERENCES emitters (id),
    value REAL,
    record TEXT NOT NULL
);
"""

_INDICES = """
CREATE INDEX IF NOT EXISTS assignments_by_status ON assignments (status, id);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _EMBEDDINGS, _MEASURE, _EMITTERS, _INDICES)
"""SQL scripts; the one at index i leads from schema i to schema i + 1."""
WITH_EMBEDDINGS = 2
WITH_PERIODS = 3
WITH_EMITTERS = 4
OLDEST_READABLE = 1
"""The oldest schema that can be read without a migration; younger tables then count as empty."""


def check(connection: sqlite3.Connection, place: str) -> int:
    """The schema number of an open database; 0 for an empty one.

    Raises:
        SchemaError: if the file is not ours, or newer than this program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0])
    if mark != APPLICATION_ID and (tables or version):
        raise SchemaError(f"{place} is not a run database: choose another folder")
    if version > len(MIGRATIONS):
        raise SchemaError(
            f"{place} was written by a newer acdc (schema {version}; this one knows up to "
            f"{len(MIGRATIONS)}): upgrade acdc"
        )
    return version


def migrate(connection: sqlite3.Connection, place: str) -> None:
    """Bring a database to the newest schema in one transaction: readers see all of it or nothing.

    Raises:
        SchemaError: as `check`.
    """
    missing = MIGRATIONS[check(connection, place) :]
    if not missing:
        return
    steps = "\n".join(missing)
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{steps}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\n"
            f"PRAGMA user_version = {len(MIGRATIONS)};\nCOMMIT;"
        )
    finally:
        if connection.in_transaction:
            connection.rollback()
