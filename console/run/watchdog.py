"""Says what a run waits for when nothing has been heard of it for a minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.progress import Progress, ProgressEvent
from memory.spans import Pending, overdue

PATIENCE_S = 60.0
"""Work that takes longer is reported, unless something was heard meanwhile; then at twice that
time, four times, and so on."""
_MOST = 3
"""Different pieces of work that are named in one line."""


class Watchdog:
    """A progress sink that passes everything on, and reports what is waited for in a silence.

    Args:
        progress: where everything is reported.
        patience: seconds of silence, and of one piece of work, before it is reported.
    """

    def __init__(self, progress: Progress, patience: float = PATIENCE_S) -> None:
        self._progress = progress
        self._patience = patience
        self._heard = time.monotonic()
        self._next = patience

    def __call__(self, event: ProgressEvent) -> None:
        """Something happened."""
        self._heard, self._next = time.monotonic(), self._patience
        self._progress(event)

    @asynccontextmanager
    async def on_duty(self) -> AsyncIterator[None]:
        """Watch the spans that are open inside; `tracing` has to be around it."""
        watch = asyncio.create_task(self._watch(), name="watchdog")
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._patience / 12)
            if time.monotonic() - self._heard < self._next:
                continue
            if found := overdue(self._patience):
                self._next *= 2
                self._progress(ProgressEvent("step", f"waiting: {described(found)}"))


def described(found: list[Pending]) -> str:
    """Pieces of work in one line, those that have taken longest first.

    Example: `3 x llm propose (qwen), gate solve; the longest for 75 s`.
    """
    counts = Counter(each.what for each in found)
    named = [what if count == 1 else f"{count} x {what}" for what, count in counts.items()]
    shown = ", ".join(named[:_MOST])
    more = f" and {len(named) - _MOST} more" if len(named) > _MOST else ""
    longest = max(each.seconds for each in found)
    return f"{shown}{more}; {'the longest ' if len(found) > 1 else ''}for {longest:.0f} s"
