"""The lock of a run folder: one process writes to a run, and others can see which."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from memory.errors import RunLockedError, StoreError

LOCK = "run.lock"
_LOOK_S = 0.05
"""Longer than `process_at_work` holds the lock to look at it."""


def lock_folder(folder: Path) -> int:
    """Make the folder and take its lock, which the kernel frees if this process dies.

    Returns:
        a file descriptor: whoever closes it gives the lock back.

    Raises:
        RunLockedError: another process, or another store of this one, holds the lock.
        StoreError: the folder cannot be used.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file: choose a folder for the run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StoreError(f"{folder}: no permission to write there ({error.strerror})") from error
    try:
        if not _taken(handle, fcntl.LOCK_EX):
            time.sleep(_LOOK_S)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = _written(handle)
        os.close(handle)
        raise RunLockedError(
            f"{folder} is being written by process {holder or 'unknown'}: wait for it, or stop it"
        ) from None
    except OSError as error:
        os.close(handle)
        raise StoreError(f"{folder}: cannot be locked ({error.strerror})") from error
    return handle


def process_at_work(folder: Path) -> int | None:
    """The process that holds the lock of a run folder; None where nobody does.

    The number is that of its own machine or container. A folder without the file, or one on a file
    system that has no locks, counts as one that nobody writes to.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if _taken(handle, fcntl.LOCK_SH):
            return None
        holder = _written(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return int(holder) if holder.isdecimal() else None


def _taken(handle: int, kind: int) -> bool:
    """Take the lock if it is free; it goes with the descriptor."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written(handle: int) -> str:
    return os.pread(handle, 32, 0).decode(errors="replace").strip()
