"""The streams of a program that a submission contains."""

from __future__ import annotations

import json
import os
import signal
import tempfile

from .ending import SCRATCH

SHARES = 16
"""Each output of a program gets this share of a result: JSON writes some bytes as six."""


def open_streams() -> tuple[int, ...]:
    """Files without names for standard input, output and error: no pipe that could fill up."""
    streams = []
    for _ in range(3):
        with tempfile.TemporaryFile(dir=SCRATCH) as file:
            streams.append(os.dup(file.fileno()))
    return tuple(streams)


def fill(stream: int, text: str) -> None:
    """Write a text to a stream, which is then read from its beginning."""
    with open(stream, "wb", closefd=False) as file:
        file.write(text.encode(errors="replace"))
    os.lseek(stream, 0, os.SEEK_SET)


def report(status: int | None, streams: tuple[int, ...], limit: int) -> bytes:
    """What came of a program: the fields of `helpers.Run`."""
    _, stdout, stderr = (os.pread(stream, limit, 0).decode(errors="replace") for stream in streams)
    for stream in streams:
        os.close(stream)
    ended = status is not None and os.WIFEXITED(status)
    timed_out = status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU)
    found = {
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": os.WEXITSTATUS(status) if status is not None and ended else None,
        "timed_out": timed_out,
    }
    return json.dumps(found).encode()
