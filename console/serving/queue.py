"""How many requests are under way, and the drain at the end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

_MEMORY = 0.8
"""Weight of the past in the running mean of how long a request takes."""


class Full(Exception):
    """The queue is full.

    Attributes:
        retry_after: whole seconds after which there is likely to be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Draining(Exception):
    """The server answers what it has accepted, and then ends."""


class Seats:
    """Seats for requests that were accepted and are not answered yet.

    Args:
        limit: how many there are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.draining = False
        self._seconds = 1.0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Hold a seat until the answer is sent.

        Raises:
            Draining: no request is accepted any more.
            Full: every seat is taken.
        """
        if self.draining:
            raise Draining
        if self.taken >= self.limit:
            raise Full(max(math.ceil(self._seconds), 1))
        self.taken += 1
        self._empty.clear()
        started = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - started
            self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * took
            self.taken -= 1
            if not self.taken:
                self._empty.set()

    async def drain(self) -> None:
        """Accept nothing any more, and wait until everything that was accepted is answered."""
        self.draining = True
        await self._empty.wait()
