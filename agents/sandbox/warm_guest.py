"""One warm guest, seen from the host."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.sandbox.base import Fault
from agents.sandbox.channel import Channel, GuestDied, Start
from agents.sandbox.guest.helpers import QUESTION
from agents.settings import SandboxSettings

START_SECONDS = 120.0
"""A guest imports its modules while the machine may be busy with experts."""

GRACE_SECONDS = 15.0
"""How much later than the guest's own limits the host gives a guest up for lost."""

FRAME_SLACK = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """A question of a scorer is not answered; its request ends with this fault."""

    fault: Fault


Answering = Callable[[bytes], Awaitable[bytes | Refusal]]
"""Answers a question of foreign code."""


@dataclass(frozen=True, slots=True)
class Served:
    """One step, as the guest reported it.

    Attributes:
        result: of a step that ended well: the word of foreign code. Else empty.
        end: `done`, or a fault code.
        detail: one line about it.
    """

    result: bytes
    end: str
    detail: str


class Guest:
    """One running guest program."""

    def __init__(self, channel: Channel, settings: SandboxSettings) -> None:
        self.channel = channel
        self.spent = False
        self._settings = settings

    @classmethod
    async def start(cls, start: Start, settings: SandboxSettings) -> Guest:
        """Start a guest and wait until its imports are done.

        Raises:
            GuestDied: it did not come up.
        """
        guest = cls(await start(), settings)
        try:
            await guest._frame(START_SECONDS)
        except GuestDied:
            reason = await guest.channel.kill()
            raise GuestDied(f"did not start: {reason}") from None
        except asyncio.CancelledError:
            await guest.channel.kill()
            raise
        return guest

    async def call(
        self, request: Mapping[str, Any], work: Mapping[str, Any], answering: Answering
    ) -> Served:
        """Serve one step.

        Args:
            request: what the guest program itself needs to know: limits, and whether it is a
                `program`.
            work: what is for the child alone that runs it: code, and submissions or input.
            answering: answers questions.

        Raises:
            GuestDied: the guest is lost; kill it.
        """
        patience = request["limits"]["seconds"] + GRACE_SECONDS
        await self._send(json.dumps(request).encode(), patience)
        await self._send(json.dumps(work).encode(), patience)
        result = b""
        refusal: Fault | None = None
        longest = request["limits"]["output"]
        while (frame := await self._frame(patience, longest))[:1] != b"e":
            if frame[:1] == b"r":
                result = frame[1:]
                continue
            answer = await answering(frame[1:])
            if isinstance(answer, Refusal):
                refusal = answer.fault
                await self._send(b"s", patience)
            else:
                await self._send(b"a" + answer, patience)
        end = json.loads(frame[1:])
        self.spent = bool(end["spent"])
        if refusal is not None:
            return Served(result, refusal.code, refusal.detail)
        return Served(result, end["end"], end["detail"])

    async def _send(self, payload: bytes, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self.channel.write(struct.pack(">I", len(payload)) + payload)
        except TimeoutError:
            raise GuestDied(f"took nothing for {patience:g} s") from None

    async def _frame(self, patience: float, longest: int = 0) -> bytes:
        limit = max(longest, QUESTION) + FRAME_SLACK
        try:
            async with asyncio.timeout(patience):
                (size,) = struct.unpack(">I", await self.channel.read(4))
                if not 0 < size <= limit:
                    raise GuestDied(f"a frame of {size} bytes, at most {limit} are read")
                return await self.channel.read(size)
        except TimeoutError:
            raise GuestDied(f"no answer within {patience:g} s") from None
