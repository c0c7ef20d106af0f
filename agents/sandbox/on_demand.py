"""A sandbox for commands that may never need one: it is opened by the first score."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agents.sandbox.base import Sandbox, Score, Submission


class OnDemandSandbox:
    """Scores in a sandbox that is opened when it is first needed.

    Args:
        opened: opens the sandbox; called once, outside of the event loop.
    """

    def __init__(self, opened: Callable[[], Sandbox]) -> None:
        self._open = opened
        self._opening = asyncio.Lock()
        self._sandbox: Sandbox | None = None

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions to one family.

        Raises:
            SandboxUnavailable: isolation does not work here, and the code needs it.
            SandboxError: the sandbox failed.
        """
        async with self._opening:
            if self._sandbox is None:
                self._sandbox = await asyncio.to_thread(self._open)
        return await self._sandbox.score(code, submissions)

    async def close(self) -> None:
        """Close the sandbox, if it was opened."""
        if self._sandbox is not None:
            await self._sandbox.close()
