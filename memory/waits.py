"""What is being waited for: open spans without a child, and for how long.

A span with no open span within it is what the work is at. `watched` reports those that last, and
when they have ended; whoever stops a command reads `under_way`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from weakref import WeakSet

LONG_S = 60.0
"""What has been waited for so long is reported."""
EVERY_S = 5.0
"""How often the watchdog looks."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is being waited for.

    Attributes:
        span: its id.
        what: in words.
        seconds: since it began, or since the last piece of work within it ended.
    """

    span: str
    what: str
    seconds: float

    def __str__(self) -> str:
        """As in `model call propose (scientist, g0-a01), 75 s`."""
        return f"{self.what}, {self.seconds:.0f} s"


@dataclass(slots=True)
class _Open:
    what: str
    parent: str | None
    since: float
    about: Mapping[str, object]
    children: int = 0


class Waits:
    """The spans of one run that are open; they may begin and end in any thread."""

    def __init__(self) -> None:
        """None is open yet."""
        self._open: dict[str, _Open] = {}
        self._mutex = threading.Lock()
        _LIVE.add(self)

    def begin(
        self,
        span: str,
        what: str,
        parent: str | None,
        about: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """A span has begun within another one, which may be over already.

        Args:
            span: its id.
            what: in words.
            parent: id of the one around it.
            about: whom it concerns, for the words of the spans within.
        """
        with self._mutex:
            self._open[span] = _Open(what, parent, time.monotonic(), about)
            if parent in self._open:
                self._open[parent].children += 1

    def about(self, span: str | None) -> Mapping[str, object]:
        """Whom a span concerns; nobody if it is not open."""
        with self._mutex:
            found = self._open.get(span) if span is not None else None
            return {} if found is None else found.about

    def end(self, span: str) -> None:
        """A span has ended: the one around it is what is waited for again, from now on."""
        with self._mutex:
            ended = self._open.pop(span)
            around = self._open.get(ended.parent) if ended.parent is not None else None
            if around is not None:
                around.children -= 1
                around.since = time.monotonic()

    def now(self, least: float = 0.0) -> list[Wait]:
        """What has been waited for that many seconds or more, the longest first."""
        at = time.monotonic()
        with self._mutex:
            leaves = [(name, each) for name, each in self._open.items() if not each.children]
        found = [Wait(name, each.what, at - each.since) for name, each in leaves]
        return sorted((w for w in found if w.seconds >= least), key=lambda w: -w.seconds)


_LIVE: WeakSet[Waits] = WeakSet()


def under_way() -> list[Wait]:
    """What this process waits for in all its runs, the longest first."""
    return sorted((wait for waits in _LIVE for wait in waits.now()), key=lambda w: -w.seconds)


@contextmanager
def watched(
    waits: Waits,
    report: Callable[[Sequence[Wait], Sequence[Wait]], None],
    long: float = LONG_S,
    every: float = EVERY_S,
) -> Iterator[None]:
    """Report what takes long, from a thread of its own, so that it speaks whatever is blocked.

    Args:
        waits: of a run.
        report: called at each look that finds something: with what is waited for, the longest
            first, and with what no longer is, with the seconds that were last seen.
        long: seconds from which on a wait is reported.
        every: seconds between looks.
    """
    over = threading.Event()
    last: dict[str, Wait] = {}

    def look() -> None:
        nonlocal last
        found = {wait.span: wait for wait in waits.now(long)}
        if found or last:
            report(list(found.values()), [wait for span, wait in last.items() if span not in found])
        last = found

    def watch() -> None:
        while not over.wait(every):
            look()

    watchdog = threading.Thread(target=watch, name="acdc-waits", daemon=True)
    watchdog.start()
    try:
        yield
    finally:
        over.set()
        watchdog.join()
        if last:
            report([], list(last.values()))
