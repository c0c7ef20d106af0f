"""What takes long to read of a run, read before somebody waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from console.view.matrix import SkillMatrix
from console.view.pages.answers import asked_in
from console.view.pages.comparison import FORCES, Side
from console.view.site import page_of
from console.view.source import Source
from memory.errors import AcdcError


def read_ahead(sources: Sequence[Source]) -> threading.Thread:
    """Begin to read, in a thread that does not keep the command from ending."""
    reading = threading.Thread(target=_read, args=(sources,), daemon=True)
    reading.start()
    return reading


def _read(sources: Sequence[Source]) -> None:
    for source in sources:
        # What is wrong with a run is said to whom opens its page.
        with contextlib.suppress(AcdcError), source.open() as run:
            _ = run.ledger, SkillMatrix.of(run), asked_in(run)
            # Intervals of operators are kept as well.
            page_of(run, "operators")
            for name in FORCES:
                Side(run, name).members()
