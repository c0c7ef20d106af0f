"""What a terminal shows of live work: what is under way, the pulse of the archive, and the costs.

A few lines that move at the foot of the terminal; what is worth a line of its own is printed above
them. They fit 80 columns and are few, so that a screen of 24 lines keeps room for the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agents.progress import ProgressEvent
from memory.messages import visible

AT_ONCE = 3
"""Pieces of work that are shown at one time."""
STALE_S = 90.0
"""A piece of work that is counted, but of which nothing was heard for so long, is not shown."""
BRIEF_S = 20.0
"""The same of one that cannot be counted, where something else was heard since."""
COSTS_EVERY_S = 5.0
_TICKS = "▁▂▃▄▅▆▇█"


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


def about(seconds: float | None) -> str:
    """A remaining time for people; "" where it is not known, or as good as over."""
    if seconds is None or seconds < 1:
        return ""
    rounded = round(seconds) if seconds < 20 else round(seconds / 5) * 5
    minutes, rest = divmod(rounded, 60)
    hours, of_hour = divmod(minutes, 60)
    if hours:
        return f"about {hours} h {of_hour} min"
    return f"about {minutes} min {rest} s" if minutes else f"about {rest} s"


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def waiting_line(waiting: Mapping[str, float]) -> str:
    """What is waited for longest, with its seconds, and how much else there is."""
    what = max(waiting, key=lambda name: waiting[name])
    others = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return f"waiting for {what}, {waiting[what]:.0f} s{others}"


def sparkline(values: list[float]) -> str:
    """Numbers between 0 and 1 as bars."""
    return "".join(_TICKS[min(int(value * len(_TICKS)), len(_TICKS) - 1)] for value in values)


@dataclass
class Work:
    """One piece of work: the last that was said of it."""

    event: ProgressEvent
    since: float
    heard: float
    left: str = ""


@dataclass
class Screen:
    """The lines at the foot of the terminal; `note` changes them, rich draws them.

    Attributes:
        title: of the whole, as in the folder of a run; "" shows no head line.
        costs: says what calls have used so far; asked now and then.
        expected: seconds that the whole was estimated to take; None for no estimate.
    """

    title: str = ""
    costs: Callable[[], str] | None = None
    expected: float | None = None
    _started: float = field(default_factory=lambda: time.monotonic())
    _pace: Pace = field(default_factory=Pace)
    _works: dict[str, Work] = field(default_factory=dict)
    _pulses: list[ProgressEvent] = field(default_factory=list)
    _generation: str = ""
    _first_pulse: float = 0.0
    _last: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, int] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _costs_said: str = ""
    _costs_at: float = float("-inf")

    def note(self, event: ProgressEvent) -> None:
        """Something happened."""
        now = time.monotonic()
        if event.kind == "step":
            self._step(event, now)
        elif event.kind == "phase":
            if event.total:
                self._generation = f"in generation {event.done} of {event.total}"
        elif event.kind == "pulse":
            self._generation = f"generation {event.done} of {event.total} complete"
            self._first_pulse = self._first_pulse or now
            self._pulses.append(event)
            self._works.clear()
        elif event.kind in ("accepted", "rejected"):
            self._last[event.kind] = event.text
            self._counts[event.kind] += 1
        elif event.kind == "waiting":
            # Not changed in place: another thread may be drawing it.
            waiting = {**self._waiting, event.text: event.done}
            self._waiting = {what: seconds for what, seconds in waiting.items() if seconds}

    def _step(self, event: ProgressEvent, now: float) -> None:
        what = event.text.partition(":")[0]
        before = self._works.pop(what, None)
        same = before is not None and (event.total or before.event.text == event.text)
        since = before.since if before is not None and same else now
        if not event.total:
            # What cannot be counted has ended when something else begins.
            self._works = {k: work for k, work in self._works.items() if work.event.total}
        self._works[what] = Work(event, since, now, about(self._pace.seconds_left(event)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        if self.title:
            yield _line(Text(self._head(now), "bold"))
        yield from self._under_way(now, options.max_width)
        if waiting := self._waiting:
            yield _line(Text(visible(waiting_line(waiting)), "yellow"))
        if self._pulses:
            yield _line(Text(f"archive  {self._pulse()}"))
        for kind, mark, style in (("accepted", "✓", "green"), ("rejected", "✗", "red")):
            if kind in self._last:
                said = f"{mark} {self._counts[kind]} {kind}, the last: {self._last[kind]}"
                yield _line(Text(visible(said), style))
        if said := self._cost_line(now):
            yield _line(Text(said, "dim"))

    def _head(self, now: float) -> str:
        said = f"{self.title}  {clock(now - self._started)}"
        if self._generation:
            said += f"  {self._generation}"
        remaining = self._seconds_left(now)
        return f"{said}  {about(remaining)} left in all" if about(remaining) else said

    def _seconds_left(self, now: float) -> float | None:
        """Of the whole: at the pace of its generations, or before that as it was estimated."""
        if self._pulses:
            last = self._pulses[-1]
            passed = last.done - self._pulses[0].done
            if passed > 0:
                return (now - self._first_pulse) / passed * (last.total - last.done)
        return None if self.expected is None else self.expected - (now - self._started)

    def _under_way(self, now: float, width: int) -> RenderResult:
        latest = max((work.heard for work in self._works.values()), default=0.0)
        fresh = [work for work in self._works.values() if _goes_on(work, now, latest)]
        for work in fresh[-AT_ONCE:]:
            yield _work_line(work, now, width)
        if not fresh:
            yield _line(Text("working", "dim"))

    def _pulse(self) -> str:
        text = self._pulses[-1].text.partition(": ")[2] or self._pulses[-1].text
        named = (pulse.measures.get("archive/coverage") for pulse in self._pulses)
        rates = [rate for rate in named if rate is not None]
        return visible(f"{sparkline(rates[-20:])} {text}" if len(rates) > 1 else text)

    def _cost_line(self, now: float) -> str:
        if self.costs is not None and now - self._costs_at >= COSTS_EVERY_S:
            self._costs_at = now
            self._costs_said = self.costs()
        return self._costs_said


def _goes_on(work: Work, now: float, latest: float) -> bool:
    """Whether a piece of work is probably not over; nobody says when one ends."""
    if work.event.text.endswith(": done"):
        return False
    if work.event.total:
        return work.event.done < work.event.total and now - work.heard < STALE_S
    return work.heard == latest or now - work.heard < BRIEF_S


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _work_line(work: Work, now: float, width: int) -> Table:
    """What it is, a bar where it is counted, and how long it will take or has taken."""
    event = work.event
    grid = Table.grid(padding=(0, 1), expand=False)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(width - 48, 20))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    if event.total:
        bar = ProgressBar(total=event.total, completed=event.done, width=16)
        count = f"{event.done}/{event.total}"
        remaining = f"step: {work.left}" if work.left else ""
        grid.add_row(Text(visible(event.text)), bar, count, Text(remaining, "dim"))
    else:
        grid.add_row(Text(visible(event.text)), "", "", Text(clock(now - work.since), "dim"))
    return grid
