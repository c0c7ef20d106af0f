"""A command in a process of its own, forked from one that has imported the program.

It has its own signals, exit code, environment and output, as a fresh one has; only the seconds of
loading torch and its company are spent once, and the seed of Python's hashes is that of its
siblings. The fork server is that of `multiprocessing`.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.console.warm"])


class Forked:
    """As much of `subprocess.Popen` as the tests ask of it.

    Args:
        words: of the command line.
        environment: the whole of it.
        program: Python to run instead of the command, which it may change and then call.
    """

    def __init__(
        self, words: list[str], environment: Mapping[str, str], program: str | None = None
    ) -> None:
        self.args = words
        self._said = tempfile.TemporaryDirectory(prefix="acdc-said-")
        self._files = [Path(self._said.name, name) for name in ("out", "err")]
        given = (words, dict(environment), *map(str, self._files), program)
        # A daemon: one that a failing test leaves behind ends with the tests.
        self._process = CONTEXT.Process(target=_command, args=given, daemon=True)
        kept = dict(os.environ)
        os.environ |= environment  # for the fork server, which the first process starts
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ |= kept

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to stdout and stderr until it ended."""
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutError(f"{self.args} goes on after {timeout} seconds")
        with self._said:
            out, err = (file.read_text() if file.exists() else "" for file in self._files)
        return out, err


Process = subprocess.Popen[str] | Forked
"""A command that goes on."""


def _command(
    words: list[str], environment: dict[str, str], out: str, err: str, program: str | None
) -> None:
    for descriptor, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    faulthandler.enable(2)
    os.environ.clear()
    os.environ |= environment
    sys.argv = ["acdc", *words]
    if program is not None:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
        return
    from console.app import main

    main()
