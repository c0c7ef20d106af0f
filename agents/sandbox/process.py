"""The guest program as a plain process: resource limits, but no isolation.

For code of this project's own making (the offline scientist's families) where bubblewrap does not
work. It keeps a mistake from taking the run down; it does not keep an attacker from anything.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from agents.settings import SandboxSettings

GUEST = Path(__file__).with_name("guest")


def guest_environment(folder: str = str(GUEST.parent)) -> dict[str, str]:
    """All that a guest sees of the environment.

    A fixed hash seed makes the order of sets the same in every guest; a single thread keeps forks
    of a guest that holds numpy safe.

    Args:
        folder: where the guest program lies, as the guest sees it.
    """
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": folder,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def guest_program(
    settings: SandboxSettings, mode: str, interpreter: str = sys.executable
) -> list[str]:
    """The interpreter on the guest program.

    `-s -P` leave out the user's packages and the working folder. `-I` would do the same, but would
    also ignore PYTHONHASHSEED.
    """
    return [interpreter, "-s", "-P", "-m", GUEST.name, mode, *settings.preimport]


def without_imports(command: Sequence[str], settings: SandboxSettings) -> Sequence[str]:
    """The command line of a guest that has imported nothing beforehand."""
    return command[: len(command) - len(settings.preimport)]


def process_command(settings: SandboxSettings) -> Sequence[str]:
    """The command line of a guest without isolation."""
    environment = [f"{name}={value}" for name, value in guest_environment().items()]
    return ["/usr/bin/env", "-i", *environment, *guest_program(settings, "shared")]
