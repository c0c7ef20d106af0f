"""What a person sees of a live run: a moving line in a terminal, plain lines anywhere else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from agents.progress import ProgressEvent
from memory.messages import visible

PLAIN_EVERY_S = 10.0
"""Without a terminal a moving bar becomes one line at most this often."""


class Terminal(Console):
    """A console for texts that others wrote: neither it nor the terminal obeys them.

    All that is printed goes through here, so no text has to be made harmless where it is printed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it can be seen; rich drops some control characters without a trace."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """All that is printed, in pieces; control codes of rich's own are kept."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


class VisibleFormatter(logging.Formatter):
    """Log lines of which a terminal obeys nothing."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback if there is one."""
        return visible(super().format(record))


class Pace:
    """How long what is counted will take, from how long it has taken."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int, int, int]] = {}

    def seconds_left(self, event: ProgressEvent) -> float | None:
        """Until the last step; None while a tenth is not done: the first ones say nothing."""
        what, now = event.text.partition(":")[0], time.monotonic()
        start = now, event.done, event.done, event.total
        begun, first, last, total = self._begun.get(what, start)
        if event.done < last or event.total != total:
            begun, first = now, event.done
        self._begun[what] = begun, first, event.done, event.total
        if not event.total or event.done - first < max(event.total / 10, 1):
            return None
        return (now - begun) / (event.done - first) * (event.total - event.done)


def left(seconds: float | None) -> str:
    """A remaining time for people; "" where it is not known, or as good as over."""
    if seconds is None or seconds < 1:
        return ""
    rounded = round(seconds) if seconds < 20 else round(seconds / 5) * 5
    minutes, rest = divmod(rounded, 60)
    return f"about {minutes} min {rest} s left" if minutes else f"about {rest} s left"


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
        self._pace = Pace()
        self._last_plain = 0.0
        self._pending: ProgressEvent | None = None
        self._over = threading.Event()
        self._last_stage = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Display:
        if self._live:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}", style="dim"),
                console=self._console,
                transient=True,
            )
            first = self._first or "starting"
            self._task = self._progress.add_task(first, total=None, count="", left="")
            self._progress.start()
        else:
            if self._first:
                self(ProgressEvent("line", self._first))
            threading.Thread(target=self._tell_what_is_pending, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
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
        progress.update(
            task,
            description=event.text,
            completed=event.done,
            total=event.total or None,
            count=f"{event.done}/{event.total}" if event.total else "",
            left=left(self._pace.seconds_left(event)),
        )

    def _plain_step(self, event: ProgressEvent) -> None:
        """A stage that cannot be counted is shown when it begins, the others now and then."""
        if event.total:
            late = time.monotonic() - self._last_plain >= PLAIN_EVERY_S
            due = late or event.done == event.total
        else:
            due, self._last_stage = event.text != self._last_stage, event.text
        self._pending = event
        self._pace.seconds_left(event)
        if due:
            self._print_pending()

    def _print_pending(self) -> None:
        event, self._pending = self._pending, None
        if event is None:
            return
        self._last_plain = time.monotonic()
        count = f" {event.done}/{event.total}" if event.total else ""
        remaining = left(self._pace.seconds_left(event))
        self._console.print(
            f"{self._clock()} {event.text}{count}{', ' if remaining else ''}{remaining}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _tell_what_is_pending(self) -> None:
        """What came too soon after a line is shown later, should nothing else come."""
        while not self._over.wait(PLAIN_EVERY_S):
            if self._pending is not None and self._pending.total:
                self._print_pending()

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"
