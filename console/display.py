"""What a person sees of live work: lines that move in a terminal, plain ones anywhere else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from agents.progress import ProgressEvent
from console.live import Pace, Screen, about, clock, waiting_line
from memory.messages import visible

PLAIN_EVERY_S = 10.0
"""Without a terminal a moving bar becomes one line at most this often."""
SILENCE_S = 30.0
"""So long at most, about, nothing is said without a terminal."""


class Terminal(Console):
    """A console for texts that others wrote: neither it nor the terminal obeys them.

    All that is printed goes through here, so no text has to be made harmless where it is printed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def message(self, text: str, style: str | None = None) -> None:
        """Print one message, which only the terminal itself breaks: programs get it whole."""
        self.print(text, style=style, highlight=False, soft_wrap=True)

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


class Display:
    """Shows progress events; a context manager that leaves the terminal as it found it.

    Args:
        console: where.
        first: a line before the first event, which takes its time where models are loaded.
        title: of the whole, in a terminal; "" for none.
        costs: says what calls have used, in a terminal.
        quiet: show nothing.
    """

    def __init__(
        self,
        console: Console,
        first: str | None = None,
        *,
        title: str = "",
        costs: Callable[[], str] | None = None,
        quiet: bool = False,
    ) -> None:
        self._console = console
        self._first = first
        self._quiet = quiet
        self._started = time.monotonic()
        self._pace = Pace()
        self._last_plain = 0.0
        self._spoken = self._started
        self._pending: ProgressEvent | None = None
        self._last: ProgressEvent | None = None
        self._over = threading.Event()
        self._last_stage = ""
        self._waiting: dict[str, int] = {}
        self._next_wait = 0
        live = console.is_terminal and not quiet
        self._screen = Screen(title, costs) if live else None
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self._quiet:
            return self
        if self._screen is not None:
            self._screen.note(ProgressEvent("step", self._first or "starting"))
            self._live = Live(
                self._screen, console=self._console, transient=True, refresh_per_second=4
            )
            self._live.start()
        else:
            if self._first:
                self(ProgressEvent("line", self._first))
            threading.Thread(target=self._break_silences, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()

    def expect(self, seconds: float, line: str) -> None:
        """The whole is estimated to take so long, which a line says."""
        if self._screen is not None:
            self._screen.expected = seconds
        self(ProgressEvent("line", line))

    def __call__(self, event: ProgressEvent) -> None:
        """Show one event."""
        if self._quiet:
            return
        if self._screen is not None:
            self._screen.note(event)
        if event.kind in ("line", "pulse"):
            self._print_line(event)
        elif self._screen is None and event.kind in ("accepted", "rejected"):
            line = f"{event.kind} {event.text}"
            self._print_line(ProgressEvent("line", line))
        elif self._screen is None and event.kind == "step":
            self._plain_step(event)
        elif self._screen is None and event.kind == "waiting":
            self._plain_wait(event)

    def _print_line(self, event: ProgressEvent) -> None:
        self._spoken = time.monotonic()
        style = "bold" if event.kind == "pulse" else "none"
        line = Text.assemble((self._clock(), "dim"), " ", (event.text, style))
        # In a terminal words stay whole; a line of a file stays one line.
        self._console.print(line, soft_wrap=self._screen is None)

    def _plain_step(self, event: ProgressEvent) -> None:
        """A stage that cannot be counted is shown when it begins, the others now and then."""
        if event.total:
            late = time.monotonic() - self._last_plain >= PLAIN_EVERY_S
            due = late or event.done == event.total
        else:
            due, self._last_stage = event.text != self._last_stage, event.text
        self._pending = event
        self._last = None if event.text.endswith(": done") else event
        self._pace.seconds_left(event)
        if due:
            self._print_pending()

    def _plain_wait(self, event: ProgressEvent) -> None:
        """A line when something takes long, again after twice the time, and at the end."""
        if event.done:
            self._waiting[event.text] = event.done
            if event.done >= self._next_wait:
                self._next_wait = 2 * event.done
                self._print_line(ProgressEvent("line", waiting_line(self._waiting)))
            return
        self._waiting.pop(event.text, None)
        if not self._waiting and self._next_wait:
            self._next_wait = 0
            self._print_line(ProgressEvent("line", f"no longer waiting for {event.text}"))

    def _print_pending(self, more: str = "") -> None:
        event, self._pending = self._pending, None
        if event is None:
            return
        self._last_plain = self._spoken = time.monotonic()
        count = f" {event.done}/{event.total}" if event.total else ""
        remaining = about(self._pace.seconds_left(event))
        if remaining:
            remaining = f", {remaining} left of this step"
        self._console.print(
            f"{self._clock()} {event.text}{count}{remaining}{more}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _break_silences(self) -> None:
        """What came too soon after a line is shown later, and what takes long is shown again."""
        while not self._over.wait(PLAIN_EVERY_S):
            if self._pending is not None and self._pending.total:
                self._print_pending()
            elif time.monotonic() - self._spoken >= SILENCE_S and self._last is not None:
                self._pending = self._last
                self._print_pending(", still under way")

    def _clock(self) -> str:
        return clock(time.monotonic() - self._started)
