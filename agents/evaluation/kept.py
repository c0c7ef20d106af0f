"""Tasks that are kept as they were drawn, since another process would draw others.

Some datasets of reasoning-gym draw from Python's sets, whose order changes with the hash seed of
the process, or run programs while they are drawn: the same seed gives other tasks every time. What
the first process drew stands in a file, and all later ones read it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agents.errors import TaskFileError
from memory.files import replace_file

LOCK_SECONDS = 600.0
"""How long one process waits for another that draws."""
_AGAIN_SECONDS = 0.1

UNSTABLE = frozenset(
    {
        "codeio",
        "intermediate_integration",
        "isomorphic_strings",
        "knight_swap",
        "polynomial_multiplication",
        "ransom_note",
        "word_ladder",
    }
)
"""Datasets that are kept: `codeio` runs programs, the others draw from sets (found by drawing every
dataset under several hash seeds)."""


def kept_lines(file: Path, count: int, draw: Callable[[int], Sequence[str]]) -> list[str]:
    """The first lines of a file to which lines are only ever added.

    Args:
        file: its folder is made; one process at a time adds to the files of a folder.
        count: how many lines are wanted.
        draw: gives the lines from a place on, up to `count`; called if some are missing.

    Raises:
        TaskFileError: the file cannot be read or written, or another process keeps it locked.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file.parent):
            there = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
            if len(there) < count:
                there += draw(len(there))
                replace_file(file, "".join(f"{line}\n" for line in there))
    except OSError as error:
        raise TaskFileError(f"{file} cannot be kept: {error.strerror}") from None
    return there[:count]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(place, folder)
        yield
    finally:
        os.close(place)


def _lock(place: int, folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TaskFileError(
                    f"{folder} has been locked by another process for {LOCK_SECONDS:g} s: end that "
                    "process, and try again"
                ) from None
            time.sleep(_AGAIN_SECONDS)
