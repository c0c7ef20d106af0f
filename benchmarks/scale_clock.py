"""An event loop with a simulated clock: what awaits goes on as it would, and nobody waits for it.

Code that tells the time by its loop (`sleep`, `wait_for`, `loop.time`) runs unchanged: as soon as
all tasks wait, the clock goes forward to the next moment at which one goes on. Neither threads
nor sockets belong to it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """In place of waiting, moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits, and none of them for a moment that will come")
        self.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that begins at second 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Simulated seconds."""
        return self._jump.now


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Carry out some work in simulated time, which begins at second 0.

    Raises:
        RuntimeError: it waits for something that will not happen.
    """
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)
