"""The child: one step of one request under confinement, and the end."""

from __future__ import annotations

import json
import os
import sys
import traceback
import types
from typing import Any, NamedTuple, NoReturn

from .confinement import Confinement, Limits
from .ending import SCRATCH
from .family import result_of
from .faults import attempt
from .frames import read_frame, write_frame
from .helpers import NAME, Host, module_over
from .programs import fill

PROGRAM = "submission.py"


BEGUN = b"b"
"""What a child says when it has read its step, and the clock begins."""
RESULTS, ANSWERS = 3, 4
HELPERS = module_over(Host(RESULTS, ANSWERS))


class Ends(NamedTuple):
    """The child's ends of what its parent has opened.

    Attributes:
        results: where results and questions go; becomes `RESULTS`.
        answers: where answers to questions come from; becomes `ANSWERS`.
        streams: standard input, output and error of a program; empty for a family.
    """

    results: int
    answers: int
    streams: tuple[int, ...]


def take_over(ends: Ends) -> None:
    """Leave this process no descriptors but its own, in their places."""
    for place, stream in enumerate(ends.streams):
        os.dup2(stream, place)
    os.dup2(ends.results, RESULTS, inheritable=False)
    os.dup2(ends.answers, ANSWERS, inheritable=False)
    os.closerange(ANSWERS + 1, 1024)


def serve_family(work: dict[str, Any], limits: Limits) -> NoReturn:
    """Run one step, and end without any clean-up that the family could hook into."""
    sys.modules[NAME] = HELPERS
    payload = result_of(work)
    if len(payload) > limits.output:
        detail = f"a result of {len(payload):,} bytes, at most {limits.output:,} are read"
        payload = json.dumps({"fault": "crash", "detail": detail}).encode()
    write_frame(RESULTS, b"r" + payload)
    os._exit(0)


def run_program(work: dict[str, Any]) -> NoReturn:
    """Run a program as `__main__`; its exit status is what Python's own would be."""
    os.close(RESULTS)
    os.close(ANSWERS)
    sys.stdin = os.fdopen(0, encoding="utf-8", errors="replace", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.argv = [PROGRAM, *work.pop("arguments")]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    _, raised = attempt(lambda: exec(compile(work.pop("code"), PROGRAM, "exec"), module.__dict__))
    status, _ = attempt(lambda: exit_status(raised))
    attempt(sys.stdout.flush)
    attempt(sys.stderr.flush)
    os._exit(status if isinstance(status, int) else 1)


def exit_status(raised: BaseException | None) -> int:
    """0 or 1, or what the program asked for; a traceback or last word goes to standard error."""
    if raised is None:
        return 0
    if not isinstance(raised, SystemExit):
        trace = raised.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != PROGRAM:
            trace = trace.tb_next
        traceback.print_exception(raised.with_traceback(trace))
        return 1
    if raised.code is None or isinstance(raised.code, int):
        return (raised.code or 0) & 0xFF
    print(raised.code, file=sys.stderr)
    return 1


def live(requests: int, limits: Limits, confinement: Confinement, ends: Ends) -> NoReturn:
    """All that a child does.

    Args:
        requests: where the step is read from; closed then.
        limits: of the step.
        confinement: what binds this process before foreign code runs.
        ends: of its pipes and streams.
    """
    os.setsid()
    frame = read_frame(requests)
    if frame is None:
        os._exit(1)
    work = json.loads(frame)
    del frame
    if ends.streams:
        fill(ends.streams[0], work.pop("stdin"))
    take_over(ends)
    os.chdir(SCRATCH)
    write_frame(RESULTS, BEGUN)
    confinement.enter()
    if ends.streams:
        run_program(work)
    serve_family(work, limits)
