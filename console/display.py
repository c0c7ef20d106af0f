"""What a person sees of a live run: a moving line in a terminal, plain lines anywhere else."""

from __future__ import annotations

import re
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from agents.progress import ProgressEvent

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

PLAIN_EVERY_S = 10.0
"""Without a terminal a moving bar becomes one line at most this often."""


def visible(text: str) -> str:
    """A text that some model wrote, with control characters spelled out: a terminal obeys them."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Display:
    """Shows progress events; a context manager that leaves the terminal as it found it.

    Args:
        console: where.
        first: a line before the first event, which takes its time where models are loaded.
    """

    def __init__(self, console: Console, first: str | None = None) -> None:
        self._console = console
        self._first = first
        self._live = console.is_terminal
        self._started = time.monotonic()
        self._last_plain = 0.0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Display:
        if self._live:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task("starting", total=None, count="")
            self._progress.start()
        elif self._first:
            self(ProgressEvent("line", self._first))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, event: ProgressEvent) -> None:
        """Show one event."""
        if event.kind in ("line", "pulse"):
            style = "bold" if event.kind == "pulse" else "none"
            line = Text.assemble((self._clock(), "dim"), " ", (event.text, style))
            self._console.print(line, soft_wrap=True)
        elif self._progress is not None and self._task is not None:
            self._move(self._progress, self._task, event)
        elif event.kind == "step":
            self._plain_step(event)

    def _move(self, progress: Progress, task: TaskID, event: ProgressEvent) -> None:
        count = f"{event.done}/{event.total}" if event.total else ""
        progress.update(
            task,
            description=event.text,
            completed=event.done,
            total=event.total or None,
            count=count,
        )

    def _plain_step(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if now - self._last_plain >= PLAIN_EVERY_S or event.done == event.total:
            self._last_plain = now
            self._console.print(
                f"{self._clock()} {event.text} {event.done}/{event.total}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"
