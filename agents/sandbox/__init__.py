"""Where the code of families runs: never in our process, and by default where it can do no harm."""

from __future__ import annotations

import logging

from agents.errors import SandboxUnavailable
from agents.sandbox.base import (
    HELPERS,
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


def open_sandbox(
    settings: SandboxSettings, *, trusted: bool = False, judge: Judge | None = None
) -> Sandbox:
    """The safest sandbox that works on this machine.

    Args:
        settings: which kind is wanted, and its limits.
        trusted: whether all code that will run is of this project's own making, as the offline
            scientist's is; code that an LLM wrote is not.
        judge: answers scorers that call `eval_with_llm_judge`; without it, calling is a fault.

    Raises:
        SandboxUnavailable: isolation does not work, or is not wanted, and the code needs it.
    """
    if settings.kind == "docker":
        container, reason = docker_start(settings)
        if container is None:
            raise SandboxUnavailable(reason)
        return GuestPool(container, settings, isolated=True, judge=judge)
    reason = "sandbox.kind asks for a plain process"
    if settings.kind != "process":
        command, reason = bubblewrap_command(settings)
        if command is not None:
            start, bare = process_start(command), process_start(without_imports(command, settings))
            return GuestPool(start, settings, isolated=True, judge=judge, bare=bare)
    if settings.kind == "bubblewrap":
        raise SandboxUnavailable(reason)
    if not (trusted or settings.allow_unsafe):
        raise SandboxUnavailable(
            f"{reason}; code that an LLM wrote must not run without isolation: mend that, or "
            "accept the risk with --allow-unsafe-sandbox (sandbox.allow_unsafe = true)"
        )
    log.warning("families run without isolation: %s", reason)
    command = process_command(settings)
    start, bare = process_start(command), process_start(without_imports(command, settings))
    return GuestPool(start, settings, isolated=False, judge=judge, bare=bare)
