"""Whether a server is known to be down: then calls fail at once, and none waits out its attempts.

As the circuit breaker of Nygard, Release It! (2007): it opens when a call has used up its attempts
and the server does not give one token either, or when many calls have failed in a row. It closes
with the next reply, after a rest, and at the beginning of a session.
"""

from __future__ import annotations

import asyncio
import time

from agents.errors import EndpointError

REST_SECONDS = 60.0
"""For so long a server that is down is not asked again."""
IN_VAIN = 16
"""Calls that fail in a row, whatever the server says to a single token."""


class Circuit:
    """What is known of one server.

    Attributes:
        looking: held by the call that finds out whether the server is down.
    """

    def __init__(self) -> None:
        """Nothing is wrong so far."""
        self.looking = asyncio.Lock()
        self._error: EndpointError | None = None
        self._until = 0.0
        self._failures = 0
        self._opened = asyncio.Event()

    @property
    def error(self) -> EndpointError | None:
        """With what the server was found to be down; None if calls may be made."""
        if self._error is not None and time.monotonic() >= self._until:
            self.close()
        return self._error

    def failed(self, error: EndpointError) -> None:
        """One more call came to nothing."""
        self._failures += 1
        if self._failures >= IN_VAIN:
            self.open(error)

    def open(self, error: EndpointError) -> None:
        """The server is down: whoever pauses before another attempt goes on at once, and fails."""
        self._error, self._until = error, time.monotonic() + REST_SECONDS
        self._opened.set()

    def close(self) -> None:
        """The server has answered, or may be asked again."""
        self._error, self._failures = None, 0
        self._opened.clear()

    async def pause(self, seconds: float) -> None:
        """Sleep, unless the server is found to be down."""
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return
