"""A run.db in which one record of one table is not what was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from memory.store import schema

WHOLE = {
    "meta": "value",
    "events": "payload",
    "genomes": "payload",
    "experts": "record",
    "families": "record",
    "assignments": "record",
    "drafts": "record",
    "answers": "record",
    "grades": "record",
    "messages": "record",
    "calls": "record",
    "spans": "attributes",
    "embeddings": "vector",
    "instances": "record",
    "finals": "record",
    "emitters": "record",
    "emissions": "record",
}
"""Table -> the column that holds a whole record."""


def _cut(value: Any) -> Any:
    return value[: len(value) // 2]


def _wrong_type(value: Any) -> Any:
    return b"[5]" if isinstance(value, bytes) else "[5]"


def _null(value: Any) -> Any:
    return b"" if isinstance(value, bytes) else "null"


def _bytes(value: Any) -> Any:
    return str(value) if isinstance(value, bytes) else value.encode()


def _number(value: Any) -> Any:
    return 7


def _high_bit(value: Any) -> Any:
    """A bit that makes text no UTF-8."""
    content = bytearray(value if isinstance(value, bytes) else value.encode())
    content[len(content) // 2] ^= 0x80
    return bytes(content) if isinstance(value, bytes) else content


def _renamed(value: Any) -> Any:
    """Another first field."""
    if isinstance(value, bytes):
        return b"x" + value[1:]
    return value.replace('"', '"x', 1) if '"' in value else "5"


HARMS: tuple[Callable[[Any], Any], ...] = (
    _cut,
    _wrong_type,
    _null,
    _bytes,
    _number,
    _high_bit,
    _renamed,
)


class Column(NamedTuple):
    """A column of a table, as the schema has it."""

    table: str
    name: str


def columns() -> list[Column]:
    """All columns of all tables of the newest schema."""
    connection = sqlite3.connect(":memory:")
    schema.migrate(connection, "memory")
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    return [
        Column(table, row[1])
        for table in tables
        for row in connection.execute(f"PRAGMA table_info({table})")
    ]


def damage(run: Path, column: Column, harm: Callable[[Any], Any]) -> None:
    """Change one value of one row, the first, past all rules of the schema."""
    connection = sqlite3.connect(run / "run.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    table, name = column
    key = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    key = key or ["rowid"]
    row = connection.execute(f"SELECT {', '.join(key)}, {name} FROM {table} LIMIT 1").fetchone()
    *place, value = row
    harmed = harm(value)
    text = isinstance(harmed, bytearray)
    where = " AND ".join(f"{each} = ?" for each in key)
    new = "CAST(? AS TEXT)" if text else "?"
    connection.execute(
        f"UPDATE OR IGNORE {table} SET {name} = {new} WHERE {where}",
        (bytes(harmed) if text else harmed, *place),
    )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def flip_letter(run: Path, table: str, column: str, before: str, after: str) -> None:
    """Other words in a text that a hash covers."""
    connection = sqlite3.connect(run / "run.db", isolation_level=None)
    connection.execute(
        f"UPDATE {table} SET {column} = REPLACE({column}, ?, ?) "
        f"WHERE rowid = (SELECT rowid FROM {table} WHERE INSTR({column}, ?) > 0 LIMIT 1)",
        (before, after, before),
    )
    assert connection.execute("SELECT changes()").fetchone() == (1,)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
