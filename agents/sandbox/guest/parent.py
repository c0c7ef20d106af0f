"""The parent: it runs no foreign code, keeps the clock, and sweeps up after every step."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .child import Ends, live
from .confinement import (
    Limits,
    SystemCallFilter,
    filter_for_all,
    filter_for_children,
    forbid_tracing,
)
from .frames import Interrupted, read_frame, write_frame

REQUESTS, REPLIES = 3, 4
LEFTOVERS = 64
SCRATCH = os.environ.get("TMPDIR", "/tmp")
DYING_SECONDS = 0.2
SHARES = 16
"""Each output of a program gets this share of a result: JSON writes some bytes as six."""


class Outcome(NamedTuple):
    """How a step ended: `done` or a reason code, one line about it, and its result if done."""

    end: str
    detail: str = ""
    result: bytes = b""


class Housekeeping(NamedTuple):
    """What the parent knows about its own place.

    Attributes:
        alone: whether the process namespace is its own, so that it may kill everything else.
        counted: whether somebody else counts the processes, as a container does: the limit of
            a process would count those of the user, and so of all containers.
        filtered: what binds the children; None where there is neither isolation nor libseccomp.
    """

    alone: bool
    counted: bool
    filtered: SystemCallFilter | None


# ------------------------------------------------------------------------- one step


def relay(results: int, answers: int, limits: Limits) -> Outcome:
    """Pass questions of a child to the host and answers back, up to the result.

    The clock stands still while the host is asked; the host keeps its own.
    """
    deadline = time.monotonic() + limits.seconds
    try:
        while (frame := read_frame(results, deadline, limits.output + 1, REQUESTS)) is not None:
            if frame[:1] == b"r":
                return Outcome("done", result=frame[1:])
            if frame[:1] != b"q":
                return Outcome("crash", "wrote what is no result")
            asked = time.monotonic()
            write_frame(REPLIES, frame)
            answer = read_frame(REQUESTS)
            if answer is None:
                raise Interrupted
            if answer[:1] == b"s":
                return Outcome("stopped")
            deadline += time.monotonic() - asked
            write_frame(answers, answer[1:], deadline, REQUESTS)
    except TimeoutError:
        return Outcome("timeout", f"ran longer than {limits.seconds:g} s")
    except OverflowError:
        return Outcome("crash", "wrote an oversized result")
    except BrokenPipeError:
        return Outcome("crash", "closed the pipe of its answers")
    return Outcome("died")


def await_end(pid: int, seconds: float) -> int | None:
    """The exit status of a child, or None if it still runs after so long."""
    deadline = time.monotonic() + seconds
    pause = 0.0005
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


def cause_of_death(status: int) -> Outcome:
    """Why a child is gone that gave no result."""
    if not os.WIFSIGNALED(status):
        return Outcome("crash", f"ended the process itself (exit status {os.WEXITSTATUS(status)})")
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return Outcome("timeout", "used up its CPU time")
    if number == signal.SIGKILL:
        return Outcome("memory", "was killed by the system, as happens when memory runs out")
    return Outcome("crash", f"died of {signal.Signals(number).name}")


def serve_step(code: str, step: dict[str, Any], limits: Limits, house: Housekeeping) -> Outcome:
    """Run one step in a child, and leave nothing of it.

    Raises:
        Interrupted: the host is gone.
    """
    streams = open_streams(step) if step["op"] == "run" else ()
    results, child_results = os.pipe()
    child_answers, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            live(code, step, limits, house.filtered, Ends(child_results, child_answers, streams))
        finally:  # whatever goes wrong, a child never returns into the loop of its parent
            os._exit(1)
    os.close(child_results)
    os.close(child_answers)
    fcntl.fcntl(answers, fcntl.F_SETFL, os.O_NONBLOCK)
    running: int | None = pid
    try:
        if step["op"] == "run":
            status = await_end(pid, limits.seconds)
            running = pid if status is None else None
        else:
            outcome = relay(results, answers, limits)
            if outcome.end == "died":
                outcome = Outcome("crash", "closed its result pipe")
                status = await_end(pid, DYING_SECONDS)
                if status is not None:
                    running = None
                    outcome = cause_of_death(status)
    finally:
        sweep(running, house.alone, pid)
        os.close(results)
        os.close(answers)
    if step["op"] == "run":
        outcome = Outcome("done", result=report(status, streams, limits.output // SHARES))
    return outcome


def sweep(pid: int | None, alone: bool, group: int) -> None:
    """Kill what a step left running.

    Inside a process namespace of its own the guest is process 1: it may kill everything else.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if alone:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while alone:
            os.waitpid(-1, 0)


# -------------------------------------------------------- the streams of a program


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


# ------------------------------------------------------------------------- requests


def serve(request: dict[str, Any], house: Housekeeping) -> dict[str, Any]:
    """Serve one request up to its first fault; how it ended."""
    limits = Limits(**request["limits"])
    if house.counted:
        limits = limits._replace(processes=resource.RLIM_INFINITY)
    outcome, clean = Outcome("done"), True
    for step in request["steps"]:
        if not clean:
            outcome = Outcome("stopped")
            break
        if "numpy" in sys.modules:  # unlike `random`, numpy would draw the same in every child
            sys.modules["numpy"].random.seed(int.from_bytes(os.urandom(4), "big"))
        outcome = serve_step(request["code"], step, limits, house)
        clean = not house.alone or clear_scratch()
        if outcome.end != "done":
            break
        write_frame(REPLIES, b"r" + outcome.result)
    return {"end": outcome.end, "detail": outcome.detail, "spent": not clean}


def clear_scratch() -> bool:
    """Empty the scratch folder of a few plain files; whether nothing is left for a later step.

    A guest in which more was left is given up: removing a tree that foreign code has built is
    no work for the one process that has to stay clean.
    """
    try:
        entries = list(os.scandir(SCRATCH))
        if len(entries) > LEFTOVERS:
            return False
        for entry in entries:
            os.unlink(entry.path)
    except OSError:
        return False
    return True


def empty_scratch() -> None:
    """Remove what imports have left in the scratch folder; no family has run yet."""
    for entry in os.scandir(SCRATCH):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def take_over_standard_streams() -> None:
    """Move the host's pipes away from standard input and output, which then lead nowhere."""
    os.dup2(0, REQUESTS, inheritable=False)
    os.dup2(1, REPLIES, inheritable=False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > REPLIES:
        os.close(null)


def bound(mode: str) -> Housekeeping:
    """Bind this process and its children; isolation needs that, a plain process takes what it gets.

    Raises:
        OSError: there is no filter of system calls, and the guest is to be isolated.
    """
    isolated = mode != "shared"
    alone, counted = isolated and os.getpid() == 1, mode == "container"
    try:
        filtered = filter_for_children(alone)
        filter_for_all().load()
    except OSError:
        if isolated:
            raise
        return Housekeeping(alone, counted, None)
    return Housekeeping(alone, counted, filtered)


def main(arguments: Sequence[str]) -> None:
    """Serve requests until the host closes its end.

    Args:
        arguments: `isolated`, `container` or `shared` (no process namespace of our own), then the
            modules to import beforehand, as far as they are installed.
    """
    mode, *modules = arguments
    isolated = mode != "shared"
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    take_over_standard_streams()
    if isolated:
        forbid_tracing()
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if isolated:
        empty_scratch()
    house = bound(mode)
    gc.collect()
    gc.freeze()
    write_frame(REPLIES, b'e{"end": "ready"}')
    with contextlib.suppress(Interrupted, BrokenPipeError):
        while (frame := read_frame(REQUESTS)) is not None:
            outcome = serve(json.loads(frame), house)
            write_frame(REPLIES, b"e" + json.dumps(outcome).encode())
