"""The streams of a program that a submission contains."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from typing import Any

from .ending import SCRATCH

SHARES = 16
"""Each output of a program gets this share of a result: JSON writes some bytes as six."""


def open_streams(step: dict[str, Any]) -> tuple[int, ...]:
    """Files without names for standard input, output and error: no pipe that could fill up."""
    streams = []
    for text in (step["stdin"], "", ""):
        with tempfile.TemporaryFile(dir=SCRATCH) as file:
            file.write(text.encode(errors="replace"))
            file.seek(0)
            streams.append(os.dup(file.fileno()))
    return tuple(streams)


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
