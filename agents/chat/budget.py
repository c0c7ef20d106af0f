"""What a role has used up of its budget, earlier runs of the same folder included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from agents.chat.endpoints import BudgetSettings
from agents.errors import BudgetExhausted
from memory.records import Role
from memory.store import RunStore


class Budget:
    """Calls, tokens and seconds of one role, checked before each attempt of each call.

    Each attempt counts as a call, so a server that fails cannot be asked without end. A request
    that is under way is never cut off, so tokens and seconds may end above their limits by what the
    calls under way use; the number of calls is exact.
    """

    def __init__(
        self, role: Role, limits: BudgetSettings, *, calls: int, tokens: int, seconds: float
    ) -> None:
        """Begin with what was used before."""
        self._role = role
        self._limits = limits
        self._calls = calls
        self._tokens = tokens
        self._seconds = seconds

    @classmethod
    def resume(cls, role: Role, limits: BudgetSettings, store: RunStore) -> Self:
        """Count what the run's recorded calls have used, failed ones included."""
        totals = store.call_totals().get(role)
        if totals is None:
            return cls(role, limits, calls=0, tokens=0, seconds=0.0)
        recorded = store.calls(role) if limits.seconds is not None else []
        return cls(
            role,
            limits,
            calls=totals["attempts"],
            tokens=totals["tokens_in"] + totals["tokens_out"],
            seconds=sum(call.seconds for call in recorded),
        )

    def admit(self, attempts: int = 0) -> None:
        """Count one more attempt, before it.

        Args:
            attempts: those before it of the same call.

        Raises:
            BudgetExhausted: if a limit is reached; the attempt must not be made.
        """
        used = {"calls": self._calls, "tokens": self._tokens, "seconds": self._seconds}
        for which, amount in used.items():
            limit = getattr(self._limits, which)
            if limit is not None and amount >= limit:
                raise BudgetExhausted(self._role, which, limit, attempts)
        self._calls += 1

    def spend(self, tokens: int, seconds: float) -> None:
        """Count what a call has used."""
        self._tokens += tokens
        self._seconds += seconds


class CallsUnderWay:
    """The calls of all roles that were sent and have no reply yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._calls: set[asyncio.Future[None]] = set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A call, from its first attempt to its record."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls.add(ended)
        try:
            yield
        finally:
            self._calls.remove(ended)
            ended.set_result(None)

    async def ended(self) -> None:
        """Wait for those that are under way now."""
        if self._calls:
            await asyncio.wait(set(self._calls))
