"""The host's side: a small pool of warm guests, and the rules of trying again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from agents.errors import FamilyFault, SandboxError
from agents.sandbox.base import Fault, Inspection, Score, Submission
from agents.settings import SandboxSettings

START_SECONDS = 120.0
"""A guest imports its modules while the machine may be busy with experts."""

GRACE_SECONDS = 15.0
"""How much later than the guest's own limits the host gives a guest up for lost."""

FRAME_SLACK = 4096

Step = Mapping[str, str]


class GuestDied(Exception):
    """A guest ended, or did not answer in time; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a request: the results of the steps that worked, then what stopped it."""

    results: list[dict[str, Any]]
    fault: Fault | None


class Guest:
    """One running guest program."""

    def __init__(self, process: Process, settings: SandboxSettings) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._settings = settings
        self.spent = False

    @classmethod
    async def start(cls, command: Sequence[str], settings: SandboxSettings) -> Guest:
        """Start a guest and wait until its imports are done.

        Raises:
            SandboxError: it did not come up.
        """
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}, start_new_session=True
        )
        guest = cls(process, settings)
        try:
            async with asyncio.timeout(START_SECONDS):
                await guest._frame()
        except (GuestDied, TimeoutError):
            reason = await guest._last_words()
            raise SandboxError(f"the sandbox did not start: {reason}") from None
        except asyncio.CancelledError:
            await guest.kill()
            raise
        return guest

    async def _last_words(self) -> str:
        lines = (await self.kill()).decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"exit status {self._process.returncode}"

    async def _frame(self) -> bytes:
        limit = self._settings.output_kb * 1024 + FRAME_SLACK
        try:
            (size,) = struct.unpack(">I", await self._stdout.readexactly(4))
            if size > limit:
                raise GuestDied(f"a frame of {size} bytes, at most {limit} are read")
            return await self._stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise GuestDied("ended while it was served") from error

    async def call(self, request: Mapping[str, Any]) -> tuple[list[bytes], dict[str, Any]]:
        """Serve one request: the raw results of its steps, and how it ended.

        Raises:
            GuestDied: the guest is lost; kill it.
        """
        patience = self._settings.seconds * (len(request["steps"]) + 2) + GRACE_SECONDS
        payload = json.dumps(request).encode()
        results: list[bytes] = []
        try:
            async with asyncio.timeout(patience):
                self._stdin.write(struct.pack(">I", len(payload)) + payload)
                await self._stdin.drain()
                while (frame := await self._frame())[:1] == b"r":
                    results.append(frame[1:])
        except TimeoutError:
            raise GuestDied(f"no answer within {patience:g} s") from None
        except ConnectionError as error:
            raise GuestDied("ended before it was served") from error
        end: dict[str, Any] = json.loads(frame[1:])
        self.spent = bool(end["spent"])
        return results, end

    async def kill(self) -> bytes:
        """End the guest and everything in it; what it said on standard error."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._stdin.close()
        # `communicate` also reads both pipes to their ends, without which they would stay open.
        with suppress(ConnectionError):
            return (await self._process.communicate())[1]
        return b""


class GuestPool:
    """A `Sandbox` over guests that are started by a given command.

    Args:
        command: starts one guest program.
        settings: limits, and how many guests run at a time.
        isolated: whether the command keeps the guest from network, files and processes.
    """

    def __init__(self, command: Sequence[str], settings: SandboxSettings, isolated: bool) -> None:
        self._command = tuple(command)
        self._settings = settings
        self._isolated = isolated
        self._idle: list[Guest] = []
        self._places = asyncio.Semaphore(settings.guests)

    @property
    def isolated(self) -> bool:
        """Whether the code is kept from network, files and processes of the machine."""
        return self._isolated

    async def inspect(self, code: str) -> Inspection:
        """Import a family and read its instances, in two separate processes."""
        first, second = await self._describe(code), await self._describe(code)
        return Inspection(
            tasks=first["tasks"],
            instructions=first["instructions"],
            tasks_again=second["tasks"],
            instructions_again=second["instructions"],
        )

    async def _describe(self, code: str) -> dict[str, Any]:
        steps = [{"op": "inspect"}]
        attempt = await self._attempt(code, steps)
        if attempt.fault is not None:
            attempt = await self._attempt(code, steps)
        if attempt.fault is not None:
            raise FamilyFault(attempt.fault.code, attempt.fault.detail)
        return attempt.results[0]

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions of one family; see `Sandbox.score`."""
        steps = [{"op": "score", "instance": s.instance, "text": s.text} for s in submissions]
        scores: list[Score] = []
        fault, failed_at = None, -1
        while len(scores) < len(steps):
            attempt = await self._attempt(code, steps[len(scores) :])
            scores += [Score(float(result["value"])) for result in attempt.results]
            fault = attempt.fault
            if fault is not None and failed_at == len(scores):
                scores.append(Score(None, fault))
                skipped = Fault("skipped", f"an earlier submission failed ({fault})")
                scores += [Score(None, skipped)] * (len(steps) - len(scores))
            failed_at = len(scores)
        return scores

    async def close(self) -> None:
        """End all idle guests. A later call starts new ones."""
        while self._idle:
            await self._idle.pop().kill()

    async def _attempt(self, code: str, steps: Sequence[Step]) -> Attempt:
        request = {"code": code, "steps": steps, "limits": self._limits()}
        try:
            raw, end = await self._call(request)
        except GuestDied:
            try:
                raw, end = await self._call(request)
            except GuestDied as again:
                raise SandboxError(f"two sandbox processes were lost in a row: {again}") from again
        return _read(raw, end, len(steps))

    async def _call(self, request: Mapping[str, Any]) -> tuple[list[bytes], dict[str, Any]]:
        async with self._guest() as guest:
            return await guest.call(request)

    @asynccontextmanager
    async def _guest(self) -> AsyncIterator[Guest]:
        """A guest of one's own; it is kept warm only if the request went through."""
        async with self._places:
            guest = (
                self._idle.pop() if self._idle else await Guest.start(self._command, self._settings)
            )
            usable = False
            try:
                yield guest
                usable = not guest.spent
            finally:
                if usable:
                    self._idle.append(guest)
                else:
                    await guest.kill()

    def _limits(self) -> dict[str, float]:
        """The `Limits` of the guest program; two processes are the guest's own."""
        return {
            "seconds": self._settings.seconds,
            "memory": self._settings.memory_mb * 2**20,
            "file": self._settings.file_mb * 2**20,
            "processes": self._settings.processes + 2,
            "output": self._settings.output_kb * 1024,
        }


def _read(raw: Sequence[bytes], end: Mapping[str, Any], steps: int) -> Attempt:
    """Results of the steps, and the fault that stopped them.

    What the child wrote is the word of untrusted code: anything but the agreed form is its fault.
    """
    results: list[dict[str, Any]] = []
    for frame in raw:
        result = _parse(frame)
        if "fault" in result:
            return Attempt(results[1:], Fault(result["fault"], str(result["detail"])))
        results.append(result)
    if len(results) == steps + 1:
        return Attempt(results[1:], None)
    return Attempt(results[1:], Fault(end["end"], end["detail"]))


def _parse(frame: bytes) -> dict[str, Any]:
    try:
        result = json.loads(frame)
    except (ValueError, RecursionError):
        result = None
    if isinstance(result, dict):
        if isinstance(result.get("fault"), str) and "detail" in result:
            return result
        if {"loaded"} == result.keys() or {"tasks", "instructions"} == result.keys():
            return result
        if {"value"} == result.keys() and isinstance(result["value"], float):
            return result
    return {"fault": "crash", "detail": "the result could not be read"}
