"""Moments of a run that goes on in another process, whatever the speed of the machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.console.forked import Process

_ROWS = (
    "SELECT (SELECT COUNT(*) FROM answers) + (SELECT COUNT(*) FROM calls)"
    " + (SELECT COUNT(*) FROM drafts) + (SELECT COUNT(*) FROM steps)"
)


def progress_of(folder: Path) -> int:
    """How far a run has come, in rows of its database; 0 before there is one."""
    return _counted(folder, _ROWS)


def has_come(folder: Path, rows: float) -> bool:
    """Whether a run has come so far."""
    return progress_of(folder) >= rows


def steps_of(folder: Path) -> int:
    """How many steps a run has committed."""
    return _counted(folder, "SELECT COUNT(*) FROM steps")


def last_step(folder: Path) -> str | None:
    """The step that a run committed last."""
    step = _asked(folder, "SELECT step FROM steps ORDER BY at DESC LIMIT 1")
    return None if step is None else str(step)


def has_drafted(folder: Path, generation: int) -> bool:
    """Whether a scientist of an adaptation is done."""
    sql = f"SELECT COUNT(*) FROM assignments WHERE generation = {generation} AND status != 'open'"
    return _counted(folder, sql) > 0


def wait_until(process: Process, happened: Callable[[], bool]) -> None:
    """Wait for a moment of a run that goes on."""
    deadline = time.monotonic() + 300
    while not happened():
        assert process.poll() is None, f"the run ended before that\n{process.communicate()[1]}"
        assert time.monotonic() < deadline, "it did not happen within five minutes"
        time.sleep(0.02)


def _counted(folder: Path, sql: str) -> int:
    found = _asked(folder, sql)
    return found if isinstance(found, int) else 0


def _asked(folder: Path, sql: str) -> object:
    """One value of a live run's database; None before it has its tables."""
    # For reading only: to close a database that can be written to does away with its log.
    address = (folder / "run.db").absolute().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
            row = database.execute(sql).fetchone()
    except sqlite3.OperationalError:  # it or its tables are not there yet
        return None
    return None if row is None else row[0]
