"""A `Sandbox` over a small pool of warm guests, and its rules of trying again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from agents.errors import FamilyFault, SandboxError
from agents.sandbox.base import Fault, FaultCode, Inspection, Judge, Score, Submission
from agents.sandbox.channel import GuestDied, Start
from agents.sandbox.decoding import description_told, one_line, value_told, values_told
from agents.sandbox.questions import Questions
from agents.sandbox.warm_guest import Guest, Refusal, Served
from agents.settings import SandboxSettings
from memory.records import Json

Step = Mapping[str, Any]


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

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Guest]:
        """A guest of one's own; it is kept warm only if the request went through."""
        async with self._places:
            guest = self.idle.pop() if self.idle else await Guest.start(self._start, self._settings)
            usable = False
            try:
                yield guest
                usable = not guest.spent
            finally:
                if usable:
                    self.idle.append(guest)
                else:
                    await guest.channel.kill()

    async def close(self) -> None:
        """End all idle guests. A later call starts new ones."""
        while self.idle:
            await self.idle.pop().channel.kill()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a request: the values of the steps that worked, then what stopped it."""

    values: list[float]
    fault: Fault | None


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

    async def inspect(self, code: str) -> Inspection:
        """Import a family and read its instances, in two separate processes."""
        tasks, instructions = await self._describe(code)
        tasks_again, instructions_again = await self._describe(code)
        return Inspection(tasks, instructions, tasks_again, instructions_again)

    async def _describe(self, code: str) -> tuple[Mapping[str, Json], Mapping[str, str]]:
        fault: Fault | None = None
        for _ in range(2):
            served = await self._request(code, [{"op": "inspect"}])
            told = description_told(served.results[0]) if served.results else _end(served)
            if not isinstance(told, Fault):
                return told
            fault = told
        assert fault is not None
        raise FamilyFault(fault.code, fault.detail)

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions of one family; see `Sandbox.score`."""
        steps = [{"op": "score", "instance": s.instance, "text": s.text} for s in submissions]
        scores: list[Score] = []
        failed_at = -1
        while len(scores) < len(steps):
            attempt = await self._attempt(code, steps[len(scores) :])
            scores += map(Score, attempt.values)
            fault = attempt.fault
            if fault is None:
                continue
            if failed_at == len(scores):
                scores.append(Score(None, fault))
                skipped = Fault("skipped", f"an earlier submission failed ({fault})")
                scores += [Score(None, skipped)] * (len(steps) - len(scores))
            failed_at = len(scores)
        return scores

    async def _attempt(self, code: str, steps: Sequence[Step]) -> Attempt:
        served = await self._request(code, steps)
        values: list[float] = []
        for frame in served.results:
            value = value_told(frame)
            if isinstance(value, Fault):
                return Attempt(values, value)
            values.append(value)
        rest = served.end == "stopped" and bool(values)
        return Attempt(values, None if rest or len(values) == len(steps) else _end(served))

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """Score submissions in a single process; see `Sandbox.score_together`."""
        pairs = [[submission.instance, submission.text] for submission in submissions]
        served = await self._request(code, [{"op": "score_all", "pairs": pairs}])
        if not served.results:
            return None
        return values_told(served.results[0], len(pairs))

    async def close(self) -> None:
        """End all idle guests. A later call starts new ones."""
        await self._scorers.close()
        await self._laden.close()
        await self._programs.close()

    async def _request(self, code: str, steps: Sequence[Step]) -> Served:
        if self._admit is not None:
            self._admit(code)
        questions = Questions(self._settings, len(steps), self._judge, self._run_program)
        needs = any(name.partition(".")[0] in code for name in self._settings.preimport)
        return await self._served(self._laden if needs else self._scorers, code, steps, questions)

    async def _run_program(self, code: str, step: Step, seconds: float) -> bytes:
        served = await self._served(self._programs, code, [step], None, seconds)
        return served.results[0]

    async def _served(
        self,
        guests: Guests,
        code: str,
        steps: Sequence[Step],
        questions: Questions | None,
        seconds: float | None = None,
    ) -> Served:
        """Serve a request, by another guest if the first is lost."""
        request = {"code": code, "steps": steps, "limits": self._limits(seconds)}
        answering = questions.answer if questions is not None else _no_answer
        lost: GuestDied | None = None
        for _ in range(2):
            try:
                async with guests.one() as guest:
                    return await guest.call(request, answering)
            except GuestDied as again:
                lost = again
        raise SandboxError(f"two sandbox processes ended unexpectedly in a row: {lost}") from lost

    def _limits(self, seconds: float | None) -> dict[str, float]:
        """The `Limits` of the guest program; two processes are the guest's own."""
        return {
            "seconds": self._settings.seconds if seconds is None else seconds,
            "memory": self._settings.memory_mb * 2**20,
            "file": self._settings.file_mb * 2**20,
            "processes": self._settings.processes + 2,
            "output": self._settings.output_kb * 1024,
        }


async def _no_answer(_: bytes) -> Refusal:
    """Programs of submissions have no pipe to ask through."""
    return Refusal(Fault("crash", "a program asked a question"))


def _end(served: Served) -> Fault:
    """The fault with which a request ended, as the guest saw it."""
    return Fault(cast(FaultCode, served.end), one_line(served.detail))
