"""Calls between two processes of this machine, through a socket that both inherit.

A frame is eight bytes of length and a pickle: both ends are this program, started by one user.
When one end is gone, however it ended, the other sees the end of the stream at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from evolution.errors import EngineError, WorkerLostError
from memory.errors import AcdcError
from memory.messages import first_line

_LENGTH = struct.Struct("!Q")
_PROGRAM = "evolution.engines.pool.serve"
_ROOT = Path(__file__).resolve().parents[3]
_CLOSING_SECONDS = 20.0
_REAPING_SECONDS = 20.0
"""A killed process that waits for a device may not be gone for long: it is left to the system."""
_LOG_BYTES = 4096
_SAID = 160
"""Characters of a last word: enough to know what it is about."""


class Service:
    """One end of a channel: its methods can be called from the other one, and calls cancelled."""

    def __init__(self) -> None:
        self._calls: dict[int, asyncio.Task[Any]] = {}

    async def perform(
        self, number: int, method: str, *arguments: Any
    ) -> tuple[Any, Exception | None]:
        """Carry out a call.

        Returns:
            What it returned, or what it raised, in a form that the other end knows.
        """
        call = asyncio.create_task(getattr(self, method)(*arguments))
        self._calls[number] = call
        try:
            await asyncio.wait({call})
        finally:
            del self._calls[number]
        if call.cancelled():
            return None, WorkerLostError(f"{method} was cancelled")
        error = call.exception()
        if error is None:
            return call.result(), None
        if isinstance(error, AcdcError | ValueError):
            return None, error
        said = first_line(error) if isinstance(error, Exception) else "it has ended"
        return None, EngineError(f"{type(error).__name__}: {said}")

    async def cancel(self, number: int) -> None:
        """Nobody waits for a call any more."""
        if number in self._calls:
            self._calls[number].cancel()

    async def ping(self) -> None:
        """Show that this process lives."""


class Channel:
    """A process that was started for its service, and the calls that it owes an answer.

    Args:
        process: leader of a process group of its own.
        reader: of the socket.
        writer: of the socket.
        log: what the process writes to its output.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        log: IO[bytes],
    ) -> None:
        self._process = process
        self._writer = writer
        self._log = log
        self._numbers = itertools.count()
        self._owed: dict[int, asyncio.Future[Any]] = {}
        self._lost: WorkerLostError | None = None
        self._listener = asyncio.create_task(self._listen(reader), name="channel")

    @classmethod
    async def open(cls, service: str, environment: Mapping[str, str]) -> Self:
        """Start a process.

        Args:
            service: which one, see `serve`.
            environment: variables that are other than here.
        """
        ours, theirs = socket.socketpair()
        log = tempfile.TemporaryFile()  # noqa: SIM115  # without a name, so it cannot stay behind
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, service, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                pass_fds=[theirs.fileno()],
                # Ctrl-C in a terminal is for the run, which ends its workers; and what a worker has
                # started ends with its group.
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer, log)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._lost is None

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the service; a call that is cancelled here is cancelled there.

        Raises:
            WorkerLostError: the process is gone.
            Exception: what the method raised.
        """
        if self._lost is not None:
            raise WorkerLostError(str(self._lost))
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._owed[number] = answer
        try:
            write_frame(self._writer, (number, method, arguments))
            return await answer
        except asyncio.CancelledError:
            if self._lost is None:
                write_frame(self._writer, (next(self._numbers), "cancel", (number,)))
            raise
        finally:
            self._owed.pop(number, None)

    async def close(self) -> None:
        """Let the service close, and end the process, whether it could or not."""
        try:
            if self._lost is None:
                with contextlib.suppress(AcdcError, TimeoutError):
                    await asyncio.wait_for(self.call("close"), _CLOSING_SECONDS)
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End the process and all that it has started, at once."""
        self._give_up("it was ended")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._listener.cancel()
        self._writer.close()
        # Whoever waits here may be told to stop, as a heart is; the process is reaped all the same.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._reap))

    def _reap(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAPING_SECONDS)
        self._log.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        reason = "it has ended"
        try:
            while True:
                number, value, error = await read_frame(reader)
                answer = self._owed.get(number)
                if answer is None or answer.done():
                    continue
                if error is None:
                    answer.set_result(value)
                else:
                    answer.set_exception(error)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (pickle.UnpicklingError, AttributeError, ImportError, TypeError) as error:
            reason = f"what it says cannot be read: {first_line(error)}"
        said = _last_line(self._log)
        self._give_up(reason + (f" ({said})" if said else ""))

    def _give_up(self, reason: str) -> None:
        if self._lost is None:
            self._lost = WorkerLostError(f"worker process {self._process.pid}: {reason}")
        for answer in self._owed.values():
            if not answer.done():
                answer.set_exception(WorkerLostError(str(self._lost)))


def write_frame(writer: asyncio.StreamWriter, content: Any) -> None:
    """Send something that can be pickled."""
    payload = pickle.dumps(content)
    writer.write(_LENGTH.pack(len(payload)) + payload)


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Receive what `write_frame` sent.

    Raises:
        asyncio.IncompleteReadError: the other end is gone.
    """
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def _last_line(log: IO[bytes]) -> str:
    """The last thing that a process wrote."""
    with contextlib.suppress(OSError, ValueError):
        size = os.fstat(log.fileno()).st_size
        # Its position is that of the process too, which may still write.
        written = os.pread(log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        lines = written.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:_SAID]
    return ""
