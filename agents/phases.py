"""A phase of the run: a span in the store, and a headline for who watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agents.context import RunContext
from agents.progress import ProgressEvent
from memory.spans import span


@contextmanager
def phase(context: RunContext, name: str) -> Iterator[None]:
    """Time a phase of the run under its name."""
    context.progress(ProgressEvent("phase", name))
    with span("phase", name):
        yield
