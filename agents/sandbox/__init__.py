"""The sandbox: where the code of families runs, never in our process.

base         Sandbox, Submission, Score, Fault: the interface
bubblewrap, docker, process   three ways to start a guest; the last one only limits it
pool         GuestPool: guests that are kept warm, a process for each submission
on_demand    a sandbox that is opened by the first score
known_scores scores that are not to be computed again
channel, decoding, questions, warm_guest   how host and guest speak
guest        the program inside; it imports nothing of ours
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from agents.errors import SandboxUnavailable
from agents.sandbox.base import (
    HELPERS,
    MOST_LEVELS,
    Description,
    Fault,
    FaultCode,
    Inspection,
    Judge,
    JudgeQuestion,
    Sandbox,
    Score,
    Submission,
)
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.sandbox.channel import process_start
from agents.sandbox.docker import docker_start
from agents.sandbox.pool import GuestPool
from agents.sandbox.process import process_command, without_imports
from agents.settings import SandboxSettings

__all__ = [
    "HELPERS",
    "MOST_LEVELS",
    "Description",
    "Fault",
    "FaultCode",
    "Inspection",
    "Judge",
    "JudgeQuestion",
    "Sandbox",
    "Score",
    "Submission",
    "open_sandbox",
]

log = logging.getLogger(__name__)
Ours = Callable[[str], bool]
"""Whether a program is of this project's own making."""


def open_sandbox(
    settings: SandboxSettings, *, ours: Ours | None = None, judge: Judge | None = None
) -> Sandbox:
    """The safest sandbox that works on this machine.

    Args:
        settings: which kind is wanted, and its limits.
        ours: says of a program whether it is of this project's own making, as the offline
            scientist's are. Where nothing isolates, no other may run. None if programs of others
            will come, as those that an LLM writes: then isolation is required at once.
        judge: answers scorers that call `eval_with_llm_judge`; without it, calling is a fault.

    Raises:
        SandboxUnavailable: isolation does not work, or is not wanted, and the code needs it. The
            sandbox raises it too, for code that `ours` does not know.
    """
    if settings.kind == "docker":
        container, reason = docker_start(settings)
        if container is None:
            raise SandboxUnavailable(reason)
        return GuestPool(container, settings, isolated=True, judge=judge)
    reason = 'sandbox.kind = "process" runs code without isolation'
    if settings.kind != "process":
        command, reason = bubblewrap_command(settings)
        if command is not None:
            start, bare = process_start(command), process_start(without_imports(command, settings))
            return GuestPool(start, settings, isolated=True, judge=judge, bare=bare)
    if settings.kind == "bubblewrap":
        raise SandboxUnavailable(reason)
    admit = None if settings.allow_unsafe else partial(_only_ours, ours or _nothing, reason)
    if ours is None and admit is not None:
        admit("")
    log.warning("families run without isolation: %s", reason)
    command = process_command(settings)
    start, bare = process_start(command), process_start(without_imports(command, settings))
    return GuestPool(start, settings, isolated=False, judge=judge, bare=bare, admit=admit)


def _only_ours(ours: Ours, reason: str, code: str) -> None:
    if not ours(code):
        raise SandboxUnavailable(
            f"{reason}; code that an LLM wrote must not run without isolation: install what is "
            "missing, or accept the risk with --allow-unsafe-sandbox (sandbox.allow_unsafe = true)"
        )


def _nothing(_: str) -> bool:
    return False
