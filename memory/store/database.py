"""One SQLite connection to `run.db`: opening, transactions, exactly-once steps.

The tables' own modules (`experts`, `families`, ...) build on `Database`; `RunStore` puts them
together.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from memory.errors import SchemaError, StoreError
from memory.messages import FREE_SPACE
from memory.store import schema
from memory.store.codec import AnyRecord, Table, reading
from memory.store.lock import lock_folder

DATABASE = "run.db"
BUSY_SECONDS = 30.0
"""How long one connection waits for another's transaction; ours last milliseconds."""

_AS_TEXT = partial(str, encoding="utf-8", errors="replace")
"""So that a flipped bit is found in its record, and not as an error of the whole statement."""

SqlRow = tuple[Any, ...]
Parameters = Sequence[Any]

_ADVICE = {
    sqlite3.SQLITE_FULL: f"the disk is full: {FREE_SPACE}",
    sqlite3.SQLITE_IOERR: "the disk failed or is full: check it and run the same command again",
    sqlite3.SQLITE_READONLY: "is not writable: check the permissions of its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check the permissions of its folder",
    sqlite3.SQLITE_NOTADB: "is not a database, or no more: restore the run folder from a copy, or "
    "choose another folder",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore the run folder from a copy",
    sqlite3.SQLITE_BUSY: "is locked by another process: wait for it, and try again",
}


def database_error(place: Path, error: sqlite3.Error, *, read_only: bool = False) -> StoreError:
    """What went wrong in SQLite, as one line that says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if read_only and code == sqlite3.SQLITE_READONLY:
        return StoreError(f"{place} was opened for reading only")
    return StoreError(f"{place}: {_ADVICE.get(code, str(error))}")


def run_folder(path: Path) -> Path:
    """The run folder, given itself or the `run.db` within it."""
    return path.parent if path.name == DATABASE else path


class Database:
    """A connection to a run folder's `run.db`, and the lock that goes with writing to it."""

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: int | None, read_only: bool
    ) -> None:
        """Use `open` instead; this only takes what `open` made."""
        self.folder = folder
        self.path = folder / DATABASE
        self.read_only = read_only
        self._connection = connection
        self._lock = lock
        self._mutex = threading.RLock()
        self._depth = 0
        self._owner: object = None
        self._generation: int | None = None

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> Self:
        """Open a run for writing, or for reading only while it may be live in another process.

        Args:
            path: the run folder, made if it is missing (or the `run.db` within it).
            read_only: neither create, migrate, lock nor write.

        Raises:
            RunLockedError: if another process (or another store of this one) writes to the run.
            SchemaError: if the database is newer than this program or is no run.
            StoreError: if the folder or the database cannot be used.
        """
        folder = run_folder(Path(path))
        if read_only:
            return cls(folder, _connect_to_read(folder), None, True)
        lock = lock_folder(folder)
        try:
            return cls(folder, _connect_to_write(folder), lock, False)
        except StoreError:
            os.close(lock)
            raise

    @cached_property
    def schema_version(self) -> int:
        """The schema of the open database; older than ours only where it is open for reading."""
        row = self._one("PRAGMA user_version")
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the connection and give the lock back; closing twice is harmless.

        A statement that another thread has begun ends before, which a run that is interrupted may
        leave at work: SQLite would read what is freed.
        """
        with self._mutex:
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside succeed together or not at all; may be nested.

        Never `await` inside: the writes of other tasks would join this transaction, which is
        refused with a RuntimeError.
        """
        with self._mutex:
            self._require_owner()
            with self._nested() if self._depth else self._outermost():
                yield

    @contextmanager
    def once(self, step: str, generation: int) -> Iterator[bool]:
        """A decision that is taken exactly once, however often the run is killed and resumed.

        Yields True if the step is still to be done: all writes inside then become one transaction
        together with the step's marker, forced to disk. Yields False if it was done before; writes
        inside are then ordinary ones.

        Example:
            with store.once("selection", 3) as due:
                if due:
                    store.put_archive(3, entries)
        """
        if self.step_done(step, generation):
            yield False
            return
        # A step must survive a power cut too, not only the death of the process.
        self._pragma_synchronous("FULL")
        outer, self._generation = self._generation, generation
        try:
            with self.transaction():
                self._write("INSERT INTO steps VALUES (?, ?, ?)", (step, generation, time.time()))
                yield True
        finally:
            self._generation = outer
            self._pragma_synchronous("NORMAL")

    def step_done(self, step: str, generation: int) -> bool:
        """Whether `once(step, generation)` was completed."""
        sql = "SELECT 1 FROM steps WHERE step = ? AND generation = ?"
        return self._one(sql, (step, generation)) is not None

    @contextmanager
    def _outermost(self) -> Iterator[None]:
        self._execute("BEGIN IMMEDIATE")
        self._depth, self._owner = 1, _current_task()
        try:
            yield
            self._execute("COMMIT")
        finally:
            self._depth, self._owner = 0, None
            # Still open here means that something failed, be it the COMMIT itself; SQLite has
            # rolled back by itself already after a full disk.
            if self._connection.in_transaction:
                self._execute("ROLLBACK")

    @contextmanager
    def _nested(self) -> Iterator[None]:
        # A savepoint, so that a failure that the outer transaction survives leaves nothing behind.
        self._execute("SAVEPOINT nested")
        self._depth += 1
        done = False
        try:
            yield
            done = True
        finally:
            self._depth -= 1
            if self._connection.in_transaction:
                if not done:
                    self._execute("ROLLBACK TO nested")
                self._execute("RELEASE nested")

    def _pragma_synchronous(self, level: str) -> None:
        if not self._depth:
            self._execute(f"PRAGMA synchronous = {level}")

    def _require_owner(self) -> None:
        if self._depth and self._owner is not _current_task():
            raise RuntimeError("a task awaited inside a transaction of the run store")

    def _execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.IntegrityError as error:
            raise StoreError(f"{self.path}: {_describe(sql, parameters)}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise database_error(self.path, error, read_only=self.read_only) from error

    def _write(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one writing statement; the number of rows that it changed."""
        with self._mutex:
            self._require_owner()
            return self._execute(sql, parameters).rowcount

    def _write_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one writing statement for many rows, in one transaction."""
        with self.transaction():
            for row in rows:
                self._execute(sql, row)

    def _all(self, sql: str, parameters: Parameters = ()) -> list[SqlRow]:
        """All rows of a query."""
        with self._mutex:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as error:
                raise database_error(self.path, error, read_only=self.read_only) from error

    def select(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """The rows of any query, by column: for viewers, which look at many records at once.

        What `records` checks of each record it does not.

        Raises:
            StoreError: the query fails, or would write to a run that is open for reading.
        """
        names, rows = self.table(sql, parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def count(self, table: Literal["experts", "families"]) -> int:
        """How many records a table has; none of them is read."""
        row = self._one(f"SELECT COUNT(*) FROM {table}")
        return int(row[0]) if row else 0

    def table(self, sql: str, parameters: Parameters = ()) -> tuple[list[str], list[SqlRow]]:
        """The columns and the rows of any query, as `select`, where there are very many.

        Raises:
            StoreError: as `select`.
        """
        with self._mutex:
            try:
                cursor = self._connection.execute(sql, parameters)
                return [column[0] for column in cursor.description or ()], cursor.fetchall()
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as error:
                raise database_error(self.path, error, read_only=self.read_only) from error

    def _records(
        self, table: Table[AnyRecord], rest: str = "", parameters: Parameters = ()
    ) -> list[AnyRecord]:
        """The records of a table that a WHERE or ORDER BY asks for.

        Raises:
            DamagedError: one of them is not what was written.
        """
        rows = self._all(table.select + rest, parameters)
        return [table.read(self.path, row) for row in rows]

    def _record(
        self, table: Table[AnyRecord], rest: str, parameters: Parameters
    ) -> AnyRecord | None:
        """The first of `_records`, if there is one."""
        return next(iter(self._records(table, rest, parameters)), None)

    def _reading(self, table: str, key: object) -> AbstractContextManager[None]:
        """Reads one record; see `reading`."""
        return reading(self.path, table, key)

    def _check_column(self, table: str, column: str, known: tuple[str, ...]) -> None:
        """Refuse a table in which a column has other values than these: queries would miss rows.

        Raises:
            DamagedError: names the record.
        """
        places = ", ".join("?" * len(known))
        row = self._one(f"SELECT id, {column} FROM {table} WHERE {column} NOT IN ({places})", known)
        if row is not None:
            with self._reading(table, row[0]):
                raise ValueError(f"{column} is {row[1]!r}")

    def _one(self, sql: str, parameters: Parameters = ()) -> SqlRow | None:
        """The first row of a query, if there is one."""
        rows = self._all(sql, parameters)
        return rows[0] if rows else None


def matching(**wanted: object) -> tuple[str, tuple[object, ...]]:
    """A WHERE clause for the columns that are given, and its values; None is any value.

    Of one clause for all cases SQLite would use no index, and read the whole table.
    """
    given = {column: value for column, value in wanted.items() if value is not None}
    clause = " AND ".join(f"{column} = ?" for column in given) or "1"
    return f"WHERE {clause} ", tuple(given.values())


def _current_task() -> object:
    """What may write inside an open transaction: this asyncio task, or this thread outside one."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or threading.current_thread()


def _describe(sql: str, parameters: Parameters) -> str:
    """A statement in short: its first words and the keys that it was given."""
    keys = ", ".join(str(value)[:40] for value in parameters[:2])
    return f"{' '.join(sql.split()[:3])} ({keys})"


def _connect_to_write(folder: Path) -> sqlite3.Connection:
    place = folder / DATABASE
    if _has_content(place) and _has_content(place.with_name(f"{DATABASE}-wal")):
        _refuse_torn(place)
    try:
        connection = connect(place)
    except sqlite3.Error as error:
        raise database_error(place, error) from error
    try:
        # A foreign database is recognised before anything in it is changed.
        schema.check(connection, str(place))
        connection.execute("PRAGMA journal_mode = WAL")
        schema.migrate(connection, str(place))
    except SchemaError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise database_error(place, error) from error
    return connection


def _refuse_torn(place: Path) -> None:
    """Refuse a database and a log that are not of the same moment.

    SQLite takes a log for that of any database beside which it lies. A copy that was made file by
    file while a run was writing may hold an older database with a younger log, and lack rows.

    Raises:
        StoreError: its tables and their indexes do not agree.
    """
    try:
        # For reading only: to close a connection that may write puts the log into the database.
        with closing(_reader(place)) as reader:
            reader.execute("PRAGMA trusted_schema = OFF")
            [[found]] = reader.execute("PRAGMA integrity_check(1)")
    except sqlite3.Error as error:
        raise database_error(place, error) from error
    if found != "ok":
        raise StoreError(
            f"{place} does not agree with its log, as in a copy that was made while the run was "
            "writing: restore the run folder from a copy that was made while it was not"
        )


def connect(place: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A writing connection with the settings that every connection of ours shares."""
    connection = sqlite3.connect(
        place, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _AS_TEXT
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _nothing_in(place: Path) -> StoreError:
    return StoreError(
        f"{place} is {'empty' if place.exists() else 'missing'}: the run has not got as far as "
        f"writing it (then `acdc run {place.parent}` begins it), or it was lost (then restore the "
        "run folder from a copy)"
    )


def _reader(place: Path, options: str = "") -> sqlite3.Connection:
    address = f"{place.absolute().as_uri()}?mode=ro{options}"
    return sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _alone(place: Path) -> sqlite3.Connection:
    """A reader in a folder that cannot be written to, where SQLite can make no shared memory.

    No writer is at work where the log is empty, or where there is no shared memory: then it is not
    needed. That would be wrong beside the live run of another user.
    """
    if not _has_content(place.with_name(f"{DATABASE}-wal")):
        return _reader(place, "&immutable=1")
    if place.with_name(f"{DATABASE}-shm").exists():
        return _reader(place)
    # Without locks, which would have to be written, and with an index of the log of its own.
    connection = _reader(place, "&vfs=unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _connect_to_read(folder: Path) -> sqlite3.Connection:
    place = folder / DATABASE
    if not _has_content(place):
        raise _nothing_in(place)
    try:
        connection = _alone(place) if not os.access(folder, os.W_OK) else _reader(place)
        connection.text_factory = _AS_TEXT
        version = schema.check(connection, str(place))
    except sqlite3.Error as error:
        raise database_error(place, error) from error
    if version < schema.OLDEST_READABLE:
        connection.close()
        # A run that begins has a header for a moment before it has tables.
        if version == 0:
            raise _nothing_in(place)
        raise SchemaError(
            f"{place} has schema {version}, this acdc reads {len(schema.MIGRATIONS)}: "
            f"continue the run once (`acdc run {folder}`) to upgrade it"
        )
    return connection
