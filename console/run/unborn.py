"""Takes back a new run folder in which nothing was achieved."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.errors import BudgetExhausted, ChatError
from console.run.folder import OWN_ENTRIES, RunFolder
from memory.errors import AcdcError
from memory.store import RunStore


@contextmanager
def undone_if_unborn(folder: RunFolder) -> Iterator[None]:
    """Where a block that begins a run fails before anything is achieved, remove the folder.

    So a corrected command finds the place as it was. A run that was there before is left alone.
    """
    fresh = not folder.exists()
    try:
        yield
    except AcdcError as error:
        if fresh and folder.exists() and not _achieved(folder, error):
            _remove(folder.path)
        raise


def _achieved(folder: RunFolder, error: AcdcError) -> bool:
    """Whether there is something to keep: an expert, a family, or replies that were paid for.

    Where an endpoint or a budget ended it, what was answered before counts.
    """
    if isinstance(error, BudgetExhausted):
        return True
    try:
        with RunStore.open(folder.path, read_only=True) as store:
            if store.experts() or store.families():
                return True
            answered = any(call.response is not None for call in store.calls())
            return answered and isinstance(error, ChatError)
    except AcdcError:
        # No readable store means that nothing was achieved either.
        return False


def _remove(path: Path) -> None:
    """Remove what a run writes; nothing else."""
    for name in OWN_ENTRIES:
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
