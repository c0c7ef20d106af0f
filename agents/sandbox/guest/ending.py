"""How a child ends, and what is done so that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from typing import NamedTuple

from .confinement import LIBC

LEFTOVERS = 64
NOSUID, NODEV, NOEXEC, DETACH = 2, 4, 8, 2
SCRATCH = os.environ.get("TMPDIR", "/tmp")


class Outcome(NamedTuple):
    """How a step ended: `done` or a reason code, one line about it, and its result if done."""

    end: str
    detail: str = ""
    result: bytes = b""


def await_end(pid: int, seconds: float) -> int | None:
    """The exit status of a child, or None if it still runs after so long."""
    deadline = time.monotonic() + seconds
    pause = 0.0005
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


def cause_of_death(status: int) -> Outcome:
    """Why a child is gone that gave no result."""
    if not os.WIFSIGNALED(status):
        return Outcome("crash", f"ended the process itself (exit status {os.WEXITSTATUS(status)})")
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return Outcome("timeout", "used up its CPU time")
    if number == signal.SIGKILL:
        return Outcome("memory", "was killed by the system, as happens when memory runs out")
    return Outcome("crash", f"died of {signal.Signals(number).name}")


def sweep(pid: int | None, alone: bool, group: int) -> None:
    """Kill what a step left running.

    Inside a process namespace of its own the guest is process 1: it may kill everything else.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if alone:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while alone:
            os.waitpid(-1, 0)


def fresh_scratch(size: int) -> bool:
    """Mount an empty scratch folder in the place of the last one; whether that was possible.

    A folder that is only emptied keeps what was done to itself: times, mode, attributes, numbers of
    inodes, by which one family could leave word for another.

    Args:
        size: bytes that fit in it.
    """
    place = SCRATCH.encode()
    options = f"size={size},mode=1777".encode()
    LIBC.umount2(place, DETACH)  # fails where none was mounted, which is as well
    return bool(LIBC.mount(b"tmpfs", place, b"tmpfs", NOSUID | NODEV | NOEXEC, options) == 0)


def clear_scratch() -> bool:
    """Empty the scratch folder of a few plain files; whether nothing is left for a later step.

    Where no fresh one can be mounted, as in a container.

    A guest in which more was left is given up: removing a tree that foreign code has built is
    no work for the one process that has to stay clean.
    """
    try:
        entries = list(os.scandir(SCRATCH))
        if len(entries) > LEFTOVERS:
            return False
        for entry in entries:
            os.unlink(entry.path)
    except OSError:
        return False
    return True


def empty_scratch() -> None:
    """Remove what imports have left in the scratch folder; no family has run yet."""
    for entry in os.scandir(SCRATCH):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
