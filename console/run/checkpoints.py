"""graph.db: LangGraph's last checkpoint. What cannot be read is set aside: run.db is the truth.

Earlier checkpoints are removed, as nothing goes back to them: the file stays as small in the
thousandth generation as in the first. Without checkpoints the graph begins at `opening`, which goes
on behind the last generation, and every node finds in run.db what it has done already.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agents.graph import build_graph
from agents.progress import Progress, ProgressEvent
from memory.errors import StoreError
from memory.store.database import database_error

THREAD: RunnableConfig = {"configurable": {"thread_id": "run"}}
"""Under which a run keeps its checkpoints."""
_COLUMNS = {
    "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, type, checkpoint, metadata",
    "writes": "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value",
}
"""What LangGraph reads, by table. Its own opening would change a database of something else."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError)
"""What decoding bytes raises that LangGraph did not write."""


@asynccontextmanager
async def open_checkpoints(file: Path, progress: Progress) -> AsyncIterator[AsyncSqliteSaver]:
    """Open graph.db; where it cannot be read, set it aside, say so, and begin a new one.

    Raises:
        StoreError: the file cannot be opened, read, written or renamed.
    """
    if (fault := _fault(file) or await _fault_of_content(file)) is not None:
        aside = _set_aside(file)
        told = f"{file} {fault}; kept as {aside.name}, and the run goes on from run.db without it"
        progress(ProgressEvent("line", told))
    try:
        async with _opened(file) as saver:
            yield saver
    except sqlite3.DatabaseError as error:
        if _code(error) in _DAMAGED:
            raise StoreError(
                f"{file} was damaged while the run was at work: run the same command again, which "
                "sets it aside and goes on"
            ) from error
        raise database_error(file, error) from error


SERIALIZER = JsonPlusSerializer(allowed_msgpack_modules=None)
"""It constructs no object that a record names but those of LangGraph's own."""


class LatestSaver(AsyncSqliteSaver):
    """Keeps the last checkpoint alone, and what its step has written since.

    The state of a run has no `DeltaChannel`, whose values would lie in earlier checkpoints.
    """

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint, and then remove all before it: their ids grow with time."""
        kept = await super().aput(config, checkpoint, metadata, new_versions)
        place = kept["configurable"]
        key = (str(place["thread_id"]), place["checkpoint_ns"], place["checkpoint_id"])
        async with self.lock:
            for table in _COLUMNS:
                await self.conn.execute(
                    f"DELETE FROM {table} "
                    "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id < ?",
                    key,
                )
            await self.conn.commit()
        return kept


@asynccontextmanager
async def _opened(file: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with aiosqlite.connect(file) as connection:
        yield LatestSaver(connection, serde=SERIALIZER)


def _parts(file: Path) -> list[Path]:
    """A database and what SQLite writes beside it."""
    return [file, *(file.with_name(f"{file.name}-{end}") for end in ("wal", "shm"))]


def _fault(file: Path) -> str | None:
    """What is wrong with a database, None if it is sound or missing; nothing in it is changed."""
    if any(part.exists() and not part.is_file() for part in _parts(file)):
        return "is a folder, or has one beside it, and no database"
    if not file.exists() or not file.stat().st_size:
        return None
    try:
        address = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as database:
            [[state]] = database.execute("PRAGMA quick_check(1)")
            [[tables]] = database.execute("SELECT COUNT(*) FROM sqlite_master")
            if state == "ok" and tables:
                for table, columns in _COLUMNS.items():
                    database.execute(f"SELECT {columns} FROM {table} LIMIT 0")
    except sqlite3.DatabaseError as error:
        return _described(file, error)
    return None if state == "ok" else "is damaged"


async def _fault_of_content(file: Path) -> str | None:
    """What is wrong with the last checkpoint of a sound database."""
    if not file.exists():
        return None
    try:
        async with _opened(file) as saver:
            state = await build_graph(saver).aget_state(THREAD)
    except sqlite3.DatabaseError as error:
        return _described(file, error)
    except _UNREADABLE:
        return "holds a checkpoint that cannot be read"
    if state.values and not isinstance(state.values.get("generation"), int):
        return "holds a checkpoint of something else"
    return None


def _described(file: Path, error: sqlite3.DatabaseError) -> str:
    """What an error says of the file.

    Raises:
        StoreError: it is about the disk, permissions or a lock instead.
    """
    if _code(error) in _DAMAGED:
        return "is damaged"
    if _code(error) == sqlite3.SQLITE_ERROR:  # no such table, or no such column
        return "is a database of something else"
    raise database_error(file, error) from error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _set_aside(file: Path) -> Path:
    """Rename a database and what lies beside it to names that are free; the new name."""
    for number in count(1):
        aside = file.with_name(f"{file.name}.damaged-{number}")
        if not any(map(os.path.lexists, _parts(aside))):
            break
    try:
        for old, new in zip(_parts(file), _parts(aside), strict=True):
            if os.path.lexists(old):
                old.rename(new)
    except OSError as error:
        raise StoreError(
            f"{file} cannot be read, nor renamed ({error.strerror}): remove it; the run goes on "
            "without it"
        ) from error
    return aside
