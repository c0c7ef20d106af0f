"""A sandbox for commands that may never need one: it is opened by the first score."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agents.sandbox.base import Description, Sandbox, Score, Submission


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
        return await (await self._opened()).score(code, submissions)

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """Score submissions in a single process; see `Sandbox.score_together`.

        Raises:
            SandboxError: as `score`.
        """
        return await (await self._opened()).score_together(code, submissions)

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        """Draw instances of a family; see `Sandbox.draw`.

        Raises:
            FamilyFault: the family's code is at fault.
            SandboxError: as `score`.
        """
        return await (await self._opened()).draw(code, seeds, level)

    async def _opened(self) -> Sandbox:
        async with self._opening:
            if self._sandbox is None:
                self._sandbox = await asyncio.to_thread(self._open)
        return self._sandbox

    async def close(self) -> None:
        """Close the sandbox, if it was opened."""
        if self._sandbox is not None:
            await self._sandbox.close()
