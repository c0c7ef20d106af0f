"""How the user called the command, so that commands in messages work where they are pasted."""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import sys
from pathlib import Path

NAME = "acdc"
DISTRIBUTION = "acdc-experts"


def command() -> str:
    """The command in the user's own words: `acdc`, `.venv/bin/acdc`, `python -m console`."""
    called = Path(sys.argv[0] or NAME)
    if called.name == "__main__.py":
        return f"{_word(Path(sys.executable))} -m {called.parent.name}"
    if called.name != NAME:
        # Somebody else's program carries out the command, as tests do.
        return NAME
    return _word(called)


def line(*words: object) -> str:
    """A command line that can be pasted into a shell."""
    return " ".join([command(), *(shlex.quote(str(word)) for word in words)])


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree that is not installed"


def _word(program: Path) -> str:
    """The shortest way to call a program: its name, where the search path leads to it."""
    found = shutil.which(program.name)
    if found is not None and Path(found).absolute() == program.absolute():
        return program.name
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    # A bare name would be searched for.
    return shlex.quote(str(program) if len(program.parts) > 1 else f"./{program}")
