"""Processor time that a run spends inside store, spans, checkpoints and novelty memory."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import aiosqlite

from memory.novelty.memory import NoveltyMemory
from memory.spans import OpenSpan, RunSpanExporter
from memory.store.database import Database

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
    """Seconds of the processor by kind of place, each call once, however deep it goes."""

    def __init__(self) -> None:
        self._within = ""
        self.seconds = defaultdict[str, float](float)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what this thread does, and the one that writes checkpoints."""
        inner = self._in_its_thread(aiosqlite.Connection._execute)
        with mock.patch.object(aiosqlite.Connection, "_execute", inner):
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
            self._within, begun = kind, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[kind] += time.thread_time() - begun
                self._within = ""

        return measured

    def _in_its_thread(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """Of the connection to graph.db, the only one that has a thread of its own."""

        async def measured(
            connection: Any, function: Callable[..., Any], *given: Any, **named: Any
        ) -> Any:
            def timed(*arguments: Any, **others: Any) -> Any:
                begun = time.thread_time()
                try:
                    return function(*arguments, **others)
                finally:
                    self.seconds["checkpoints"] += time.thread_time() - begun

            return await execute(connection, timed, *given, **named)

        return measured
