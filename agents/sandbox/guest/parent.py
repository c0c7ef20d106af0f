"""The parent: it runs no foreign code, keeps the clock, and sweeps up after every step.

Nor does it read any: a step is read from the host's pipe by the child that is to run it, so that a
child, which is a copy of this process, finds nothing here of what others are asked.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .child import BEGUN, Ends, live
from .confinement import (
    Confinement,
    FilterProgram,
    Limits,
    bounds,
    filter_for_all,
    filter_for_children,
    forbid_tracing,
)
from .ending import (
    Outcome,
    await_end,
    cause_of_death,
    clear_scratch,
    empty_scratch,
    fresh_scratch,
    sweep,
)
from .frames import Interrupted, read_frame, write_frame
from .helpers import QUESTION
from .programs import SHARES, open_streams, report

REQUESTS, REPLIES = 3, 4
DYING_SECONDS = 0.2


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
    filtered: FilterProgram | None


# ------------------------------------------------------------------------- one step


def relay(results: int, answers: int, limits: Limits) -> Outcome:
    """Pass questions of a child to the host and answers back, up to the result.

    The clock stands still while the host is asked; the host keeps its own.
    """
    deadline = time.monotonic() + limits.seconds
    try:
        while (frame := read_frame(results, deadline, longest(limits), REQUESTS)) is not None:
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


def longest(limits: Limits) -> int:
    """Bytes of a frame from a child: a result or a question, and a letter before it."""
    return max(limits.output, QUESTION) + 1


def converse(pid: int, results: int, answers: int, limits: Limits) -> tuple[Outcome, int | None]:
    """What came of a family's step, and the exit status of its child if that has ended."""
    outcome = relay(results, answers, limits)
    if outcome.end != "died":
        return outcome, None
    status = await_end(pid, DYING_SECONDS)
    if status is None:
        return Outcome("crash", "closed its result pipe"), None
    return cause_of_death(status), status


def serve_step(program: bool, limits: Limits, confinement: Confinement, alone: bool) -> Outcome:
    """Run one step in a child, which reads it from the host, and leave nothing of it.

    Args:
        program: whether the step is a program of a submission; else it is one of a family.
        limits: of the step.
        confinement: of the child.
        alone: whether all other processes of the namespace are the child's.

    Raises:
        Interrupted: the host is gone.
    """
    streams = open_streams() if program else ()
    results, child_results = os.pipe()
    child_answers, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ends = Ends(child_results, child_answers, streams)
            live(REQUESTS, limits, confinement, ends)
        finally:  # whatever goes wrong, a child never returns into the loop of its parent
            os._exit(1)
    os.close(child_results)
    os.close(child_answers)
    fcntl.fcntl(answers, fcntl.F_SETFL, os.O_NONBLOCK)
    status: int | None = None
    try:
        if read_frame(results) != BEGUN:
            # It has not got its step whole: the host is gone.
            raise Interrupted
        if program:
            status = await_end(pid, limits.seconds)
            outcome = Outcome("done")
        else:
            outcome, status = converse(pid, results, answers, limits)
    finally:
        sweep(pid if status is None else None, alone, pid)
        os.close(results)
        os.close(answers)
    if program:
        return Outcome("done", result=report(status, streams, limits.output // SHARES))
    return outcome


# ------------------------------------------------------------------------- requests


def serve(request: dict[str, Any], house: Housekeeping) -> dict[str, Any]:
    """Serve one request, a step; how it ended."""
    limits = Limits(**request["limits"])
    if house.counted:
        limits = limits._replace(processes=resource.RLIM_INFINITY)
    confinement = Confinement(bounds(limits), house.filtered)
    if "numpy" in sys.modules:  # unlike `random`, numpy would draw the same in every child
        sys.modules["numpy"].random.seed(int.from_bytes(os.urandom(4), "big"))
    outcome = serve_step(request["program"], limits, confinement, house.alone)
    clean = not house.alone or fresh_scratch(limits.file) or clear_scratch()
    if outcome.end == "done":
        write_frame(REPLIES, b"r" + outcome.result)
    return {"end": outcome.end, "detail": outcome.detail, "spent": not clean}


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
    os.chdir("/")
    gc.collect()
    gc.freeze()
    write_frame(REPLIES, b'e{"end": "ready"}')
    with contextlib.suppress(Interrupted, BrokenPipeError):
        while (frame := read_frame(REQUESTS)) is not None:
            outcome = serve(json.loads(frame), house)
            write_frame(REPLIES, b"e" + json.dumps(outcome).encode())
