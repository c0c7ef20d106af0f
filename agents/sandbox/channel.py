"""How the host reaches a guest program, wherever that runs."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

LAST_WORDS_SECONDS = 5.0
"""A process that has left the guest's group may hold its pipes open for good."""


class GuestDied(Exception):
    """A guest ended, or did not answer in time; never leaves the sandbox."""


class Channel(Protocol):
    """The two ends of one running guest program."""

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes of its standard output.

        Raises:
            GuestDied: it ended before.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Hand bytes to its standard input.

        Raises:
            GuestDied: it has ended.
        """
        ...

    async def kill(self) -> str:
        """End the guest and everything in it; its last words, or its exit status."""
        ...


Start = Callable[[], Awaitable[Channel]]
"""Starts one guest program."""


class ProcessChannel:
    """A guest program that is a child process of ours."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    async def read(self, size: int) -> bytes:
        """See `Channel.read`."""
        try:
            return await self._stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise GuestDied("ended while it was served") from error

    async def write(self, data: bytes) -> None:
        """See `Channel.write`."""
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except ConnectionError as error:
            raise GuestDied("ended before it was served") from error

    async def kill(self) -> str:
        """See `Channel.kill`; who is cancelled meanwhile waits for the end all the same.

        A process that outlived the event loop would be reported by asyncio, on standard error.
        """
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._stdin.close()
        ending = asyncio.create_task(self._last_words())
        try:
            said = await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise
        lines = [line.strip() for line in said.decode(errors="replace").split("\n")]
        return next(filter(None, reversed(lines)), f"exit status {self.process.returncode}")

    async def _last_words(self) -> bytes:
        # `communicate` also reads both pipes to their ends, without which they would stay open.
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                return (await self.process.communicate())[1]
        return b""


def process_start(command: Sequence[str]) -> Start:
    """Starts a guest program by a command line."""

    async def start() -> Channel:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}, start_new_session=True
        )
        return ProcessChannel(process)

    return start
