"""The frame of every command: the application, the words that commands share, how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from console.run.folder import RunFolder

app = typer.Typer(
    name="acdc",
    help="Coevolve LLM experts and the tasks that challenge them, and ask the collective.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
T = TypeVar("T")
METHOD = "skill_routing"
"""How one answer of N is chosen unless somebody says otherwise: the best at N = 3 and 8 together of
those that need no judge, on run seed 0 (docs/results.md)."""
out = Console()
errors = Console(stderr=True)

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="The run folder.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file; `acdc init` writes one.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=V", help="Set one configuration key.")
]


def opened(folder: Path) -> RunFolder:
    """A run that is there: a wrong word is told before anything heavy is loaded.

    Raises:
        UsageError: there is none.
    """
    place = RunFolder(folder)
    place.manifest()
    return place


def finish(action: Callable[[], None], debug: bool) -> None:
    """Carry out a command, and end the process with its exit code."""
    from console.supervisor import EXIT_INTERRUPTED, supervise

    code = supervise(action, errors, debug)
    if code == EXIT_INTERRUPTED:
        # A second signal skips the cleaning up, and a thread that was left must not keep us here.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM stops it as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        return asyncio.run(work)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _stop(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in what a shell has put in the background: SIGINT would be lost.
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def print_json(value: object) -> None:
    """One JSON object for programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
