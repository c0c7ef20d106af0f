"""How long a process is inside store, spans, checkpoints and novelty memory, while it works."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from console.run.checkpoints import LatestSaver
from memory.novelty.memory import NoveltyMemory
from memory.spans import OpenSpan, RunSpanExporter
from memory.store.database import Database

Clock = Callable[[], float]

KEEPING = ("store", "spans", "checkpoints")
"""What a run does to keep what it did."""
_PLACES: dict[str, tuple[type, tuple[str, ...]]] = {
    "store": (
        Database,
        ("_execute", "_write", "_write_many", "_all", "_one", "_records", "_record", "table"),
    ),
    "spans": (RunSpanExporter, ("export",)),
    "attributes of spans": (OpenSpan, ("set",)),
    "novelty memory": (NoveltyMemory, ("add", "nearest", "reconcile", "flush")),
}


class Meter:
    """Seconds by kind of place, each call once, however deep it goes.

    Args:
        clock: of the thread for processor time, or of the wall.
    """

    def __init__(self, clock: Clock = time.thread_time) -> None:
        self._clock = clock
        self._within = ""
        self.seconds = Counter[str]()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what this thread does; of checkpoints, which are awaited, the wall clock."""
        with mock.patch.multiple(LatestSaver, aput=self._awaited(LatestSaver.aput)):
            patches = [
                mock.patch.object(owner, name, self._called(kind, getattr(owner, name)))
                for kind, (owner, names) in _PLACES.items()
                for name in names
            ]
            for patch in patches:
                patch.start()
            try:
                yield
            finally:
                for patch in patches:
                    patch.stop()

    def share(self, total: float) -> float:
        """Of some seconds, what went into keeping."""
        kept = sum(self.seconds[kind] for kind in (*KEEPING, "attributes of spans"))
        return kept / total if total else 0.0

    def _called(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            if self._within:
                return function(*arguments, **named)
            self._within, begun = kind, self._clock()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[kind] += self._clock() - begun
                self._within = ""

        return measured

    def _awaited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def measured(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await function(*arguments, **named)
            finally:
                self.seconds["checkpoints"] += time.perf_counter() - begun

        return measured
