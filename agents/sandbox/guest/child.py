"""The child: one step of one request under confinement, and the end."""

from __future__ import annotations

import json
import os
import sys
import traceback
import types
from typing import Any, NamedTuple, NoReturn

from .confinement import Limits, SystemCallFilter, set_limits
from .family import attempt, result_of
from .frames import write_frame
from .helpers import Host, offer

PROGRAM = "submission.py"


class Ends(NamedTuple):
    """The child's descriptors.

    Attributes:
        results: where results and questions go.
        answers: where answers to questions come from.
        streams: standard input, output and error of a program; empty for a family.
    """

    results: int
    answers: int
    streams: tuple[int, ...]


def confine(limits: Limits, filtered: SystemCallFilter | None, ends: Ends) -> None:
    """Leave nothing to this process but its descriptors and its limits."""
    os.setsid()
    for place, stream in enumerate(ends.streams):
        os.dup2(stream, place)
    low = 3
    for kept in sorted((ends.results, ends.answers)):
        os.closerange(low, kept)
        low = kept + 1
    os.closerange(low, 1024)
    set_limits(limits)
    if filtered is not None:
        filtered.load()


def serve_family(code: str, step: dict[str, Any], limits: Limits, ends: Ends) -> NoReturn:
    """Run one step, and end without any clean-up that the family could hook into."""
    offer(Host(ends.results, ends.answers))
    payload = result_of(code, step)
    if len(payload) > limits.output:
        detail = f"a result of {len(payload):,} bytes, at most {limits.output:,} are read"
        payload = json.dumps({"fault": "crash", "detail": detail}).encode()
    write_frame(ends.results, b"r" + payload)
    os._exit(0)


def run_program(code: str, step: dict[str, Any], ends: Ends) -> NoReturn:
    """Run a program as `__main__`; its exit status is what Python's own would be."""
    os.close(ends.results)
    os.close(ends.answers)
    sys.stdin = os.fdopen(0, encoding="utf-8", errors="replace", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.argv = [PROGRAM, *step["arguments"]]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    _, raised = attempt(lambda: exec(compile(code, PROGRAM, "exec"), module.__dict__))
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


def live(
    code: str,
    step: dict[str, Any],
    limits: Limits,
    filtered: SystemCallFilter | None,
    ends: Ends,
) -> NoReturn:
    """All that a child does."""
    confine(limits, filtered, ends)
    if step["op"] == "run":
        run_program(code, step, ends)
    serve_family(code, step, limits, ends)
