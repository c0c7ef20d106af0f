"""A `Sandbox` over a small pool of warm guests, and its rules of trying again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from agents.errors import FamilyFault, SandboxError, SandboxUnavailable
from agents.sandbox.base import (
    Description,
    Fault,
    FaultCode,
    Inspection,
    Judge,
    Score,
    Submission,
)
from agents.sandbox.channel import GuestDied, Start
from agents.sandbox.decoding import description_told, one_line, values_told
from agents.sandbox.questions import Questions
from agents.sandbox.warm_guest import Answering, Guest, Refusal, Served
from agents.settings import SandboxSettings
from memory.spans import span

STARTS = 4
"""Guests in a row that do not start: after them no other is tried, each with its own deadline."""
DESCRIPTION = 32
"""A description may be so many times as long as another result."""


class Guests:
    """Warm guests, at most so many at a time.

    Args:
        start: starts one guest program.
        settings: limits, and how many guests run at a time.
        places: shared with other guests that count with these.
    """

    def __init__(
        self, start: Start, settings: SandboxSettings, places: asyncio.Semaphore | None = None
    ) -> None:
        self._start = start
        self._settings = settings
        self._places = places or asyncio.Semaphore(settings.guests)
        self.idle: list[Guest] = []
        self._failed = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Guest]:
        """A guest of one's own; it is kept warm only if the request went through."""
        async with self._places:
            guest = self.idle.pop() if self.idle else await self._started()
            usable = False
            try:
                yield guest
                usable = not guest.spent
            finally:
                if usable:
                    self.idle.append(guest)
                else:
                    await guest.channel.kill()

    async def _started(self) -> Guest:
        """A new guest.

        Raises:
            SandboxUnavailable: so many have not started that no other would.
            GuestDied: this one has not.
        """
        if self._failed >= STARTS:
            raise SandboxUnavailable(
                f"{self._failed} sandboxes in a row did not start: `acdc doctor` shows why; the "
                "same command goes on"
            )
        try:
            guest = await Guest.start(self._start, self._settings)
        except GuestDied:
            self._failed += 1
            raise
        self._failed = 0
        return guest

    async def close(self) -> None:
        """End all idle guests. A later call starts new ones."""
        while self.idle:
            await self.idle.pop().channel.kill()


class GuestPool:
    """A `Sandbox` over guests that are started in a given way.

    Programs of submissions run in guests of their own, which never hold a scorer.

    Args:
        start: starts one guest program.
        settings: limits, and how many guests run at a time (and as many again for programs).
        isolated: whether that keeps the guest from network, files and processes.
        judge: answers `eval_with_llm_judge`; without it, asking is a fault.
        bare: starts one that has imported nothing beforehand. To fork a small process is
            much cheaper than one that holds reasoning-gym, so all code goes there that names no
            module of `settings.preimport`; None sends all to `start`.
        admit: raises `SandboxUnavailable` for code that may not run here; None admits all.
    """

    def __init__(
        self,
        start: Start,
        settings: SandboxSettings,
        isolated: bool,
        judge: Judge | None = None,
        bare: Start | None = None,
        admit: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._admit = admit
        self._isolated = isolated
        self._judge = judge
        places = asyncio.Semaphore(settings.guests)
        self._scorers = Guests(bare or start, settings, places)
        self._laden = Guests(start, settings, places) if bare else self._scorers
        self._programs = Guests(start, settings)

    @property
    def isolated(self) -> bool:
        """Whether the code is kept from network, files and processes of the machine."""
        return self._isolated

    async def inspect(self, code: str, seeds: Sequence[int] = (0,)) -> Inspection:
        """Import a family and read its instances, in two separate processes."""
        with span("sandbox", "inspect", seeds=len(seeds)):
            first = await self._describe(code, seeds)
            return Inspection(first, await self._describe(code, seeds[::-1], downwards=True))

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        """Draw instances of a generative family at one level; see `Sandbox.draw`."""
        with span("sandbox", "draw", seeds=len(seeds), level=level):
            return await self._describe(code, seeds, level=level)

    async def _describe(
        self,
        code: str,
        seeds: Sequence[int],
        *,
        downwards: bool = False,
        level: int | None = None,
    ) -> Description:
        work = {"seeds": list(seeds), "downwards": downwards, "level": level}
        fault: Fault | None = None
        for _ in range(2):
            served = await self._request({"code": code, "pairs": [], **work})
            told = description_told(served.result) if served.result else _end(served)
            if not isinstance(told, Fault):
                return told
            fault = told
        assert fault is not None
        raise FamilyFault(fault.code, fault.detail)

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions of one family; see `Sandbox.score`."""
        with span("sandbox", "score", submissions=len(submissions)):
            return await self._scores(code, submissions)

    async def _scores(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        scores: list[Score] = []
        for submission in submissions:
            score = await self._score(code, submission)
            if score.fault is not None:
                score = await self._score(code, submission)
            scores.append(score)
            if score.fault is not None:
                break
        if len(scores) < len(submissions):
            skipped = Fault("skipped", f"an earlier submission failed ({scores[-1].fault})")
            scores += [Score(None, skipped)] * (len(submissions) - len(scores))
        return scores

    async def _score(self, code: str, submission: Submission) -> Score:
        found = await self._values(code, [submission])
        return Score(None, found) if isinstance(found, Fault) else Score(found[0])

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """Score submissions in a single process; see `Sandbox.score_together`."""
        if not submissions:
            return []
        with span("sandbox", "score_together", submissions=len(submissions)):
            found = await self._values(code, submissions)
        return None if isinstance(found, Fault) else found

    async def _values(self, code: str, submissions: Sequence[Submission]) -> list[float] | Fault:
        pairs = [[s.instance, _encodable(s.text)] for s in submissions]
        served = await self._request({"code": code, "pairs": pairs})
        return values_told(served.result, len(submissions)) if served.result else _end(served)

    async def close(self) -> None:
        """End all idle guests. A later call starts new ones."""
        await self._scorers.close()
        await self._laden.close()
        await self._programs.close()

    async def _request(self, work: dict[str, Any]) -> Served:
        """One step of a family: to score pairs of instance and text, or to describe itself."""
        code: str = work["code"]
        if self._admit is not None:
            self._admit(code)
        questions = Questions(self._settings, self._judge, self._run_program)
        needs = any(name.partition(".")[0] in code for name in self._settings.preimport)
        limits = self._limits(self._settings.seconds)
        if not work["pairs"]:  # all instances of all levels
            limits["output"] *= DESCRIPTION
        request = {"program": False, "limits": limits}
        return await _served(
            self._laden if needs else self._scorers, request, work, questions.answer
        )

    async def _run_program(self, work: Mapping[str, Any], seconds: float) -> bytes:
        request = {"program": True, "limits": self._limits(seconds)}
        with span("sandbox", "program"):
            return (await _served(self._programs, request, work, _no_answer)).result

    def _limits(self, seconds: float) -> dict[str, float]:
        """The `Limits` of the guest program; two processes are the guest's own."""
        return {
            "seconds": seconds,
            "memory": self._settings.memory_mb * 2**20,
            "file": self._settings.file_mb * 2**20,
            "processes": self._settings.processes + 2,
            "output": self._settings.output_kb * 1024,
        }


async def _served(
    guests: Guests, request: Mapping[str, Any], work: Mapping[str, Any], answering: Answering
) -> Served:
    """Serve a step, by another guest if the first is lost."""
    lost: GuestDied | None = None
    for _ in range(2):
        try:
            async with guests.one() as guest:
                return await guest.call(request, work, answering)
        except GuestDied as again:
            lost = again
    raise SandboxError(f"two sandbox processes ended unexpectedly in a row: {lost}") from lost


def _encodable(text: str) -> str:
    """A text that UTF-8 can hold: half of a surrogate pair is not the scorer's fault."""
    return text.encode(errors="replace").decode()


async def _no_answer(_: bytes) -> Refusal:
    """Programs of submissions have no pipe to ask through."""
    return Refusal(Fault("crash", "a program asked a question"))


def _end(served: Served) -> Fault:
    """The fault with which a request ended, as the guest saw it."""
    return Fault(cast(FaultCode, served.end), one_line(served.detail))
