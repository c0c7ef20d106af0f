"""Where the code of families runs: never in our process, and by default where it can do no harm."""

from __future__ import annotations

import logging

from agents.errors import SandboxUnavailable
from agents.sandbox.base import Fault, FaultCode, Inspection, Sandbox, Score, Submission
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.sandbox.guests import GuestPool
from agents.sandbox.process import process_command
from agents.settings import SandboxSettings

__all__ = [
    "Fault",
    "FaultCode",
    "Inspection",
    "Sandbox",
    "Score",
    "Submission",
    "open_sandbox",
]

log = logging.getLogger(__name__)


def open_sandbox(settings: SandboxSettings, *, trusted: bool = False) -> Sandbox:
    """The safest sandbox that works on this machine.

    Args:
        settings: which kind is wanted, and its limits.
        trusted: whether all code that will run is of this project's own making, as the offline
            scientist's is; code that an LLM wrote is not.

    Raises:
        SandboxUnavailable: isolation does not work, or is not wanted, and the code needs it.
    """
    reason = "sandbox.kind asks for a plain process"
    if settings.kind != "process":
        command, reason = bubblewrap_command(settings)
        if command is not None:
            return GuestPool(command, settings, isolated=True)
    if settings.kind == "bubblewrap":
        raise SandboxUnavailable(reason)
    if not (trusted or settings.allow_unsafe):
        raise SandboxUnavailable(
            f"{reason}; code that an LLM wrote must not run without isolation: mend that, or "
            "accept the risk with --allow-unsafe-sandbox (sandbox.allow_unsafe = true)"
        )
    log.warning("families run without isolation: %s", reason)
    return GuestPool(process_command(settings), settings, isolated=False)
