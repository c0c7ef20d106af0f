"""The frame of every command: the application, the words that commands share, how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import typer

from agents.errors import BudgetExhausted, JudgingError
from console.display import Terminal
from console.run.folder import RunFolder
from evolution.errors import NoWorkerError
from memory.errors import AcdcError
from memory.messages import escaped_in_json
from memory.waits import under_way
from prompts import PromptError

app = typer.Typer(
    name="acdc",
    help="Coevolve LLM experts and the tasks that challenge them, and ask the collective.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_BUDGET, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
T = TypeVar("T")
METHOD = "skill_routing"
"""How one answer of N is chosen unless somebody says otherwise: the best at N = 3 and 8 together of
those that need no judge, on run seed 0 (docs/results.md)."""
out = Terminal()
errors = Terminal(stderr=True)

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="The run folder.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file; `acdc init` writes one.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=V", help="Set one configuration key.")
]
Alone = Annotated[
    bool,
    typer.Option("--greedy", help="N different experts, each greedily, in place of N voices."),
]
UntilAgree = Annotated[
    int | None,
    typer.Option(
        "--until-agree",
        min=2,
        metavar="K",
        help="Ask no more voices once K of them agree; what they say is chosen.",
    ),
]
AllowUnsafe = Annotated[
    bool,
    typer.Option("--allow-unsafe-sandbox", help="Run code that an LLM wrote without isolation."),
]


def opened(folder: Path) -> RunFolder:
    """A run that is there: a mistyped folder is reported before anything heavy is loaded.

    Raises:
        UsageError: there is none.
    """
    place = RunFolder(folder)
    place.manifest()
    return place


def note_unfinished(folder: RunFolder) -> None:
    """Say that a run is not finished, since another task force may answer when it is.

    Raises:
        AcdcError: the run cannot be read, or none of its experts is graded yet.
    """
    from agents.task_force.field import require_field, standing_of
    from memory.store import RunStore

    with RunStore.open(folder.path, read_only=True) as store:
        if store.meta("finished"):
            return
        require_field(standing_of(store), folder.path)
        latest = store.latest_archive()
    complete = "generation 0 is not" if latest is None else f"generation {latest[0]} is"
    errors.message(
        f"{folder.path} is not finished ({complete} complete): the current task force answers",
        style="yellow",
    )


def finish(action: Callable[[], None], debug: bool) -> None:
    """Carry out a command, and end the process with its exit code."""
    code = supervise(action, errors, debug)
    if code == EXIT_INTERRUPTED:
        # A second signal skips the cleaning up, and a thread that was left must not keep us here.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM stops it as Ctrl-C does, and a line says at once that it will."""
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        return asyncio.run(_announcing_stop(work))
    finally:
        signal.signal(signal.SIGTERM, previous)


async def _announcing_stop(work: Coroutine[Any, Any, T]) -> T:
    """Cleaning up may take seconds; the first signal is acknowledged before it begins."""
    stop = signal.getsignal(signal.SIGINT)
    if not callable(stop):
        return await work
    loop = asyncio.get_running_loop()

    def announce(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(_announce, loop, STOPPING)
        stop(number, frame)

    signal.signal(signal.SIGINT, announce)
    try:
        return await work
    finally:
        signal.signal(signal.SIGINT, stop)


STOPPING = "stopping; a second Ctrl-C ends at once"
STILL = "still stopping"
STILL_EVERY_S = 10.0
_NAMED_WAITS = 3


def _announce(loop: asyncio.AbstractEventLoop, said: str) -> None:
    """Say that a stop was received, and what is waited for, again as long as it takes."""
    waits = under_way()
    named = "; ".join(map(str, waits[:_NAMED_WAITS]))
    more = f", and {len(waits) - _NAMED_WAITS} more" if len(waits) > _NAMED_WAITS else ""
    errors.message(said)
    if waits:
        errors.message(f"waiting for {named}{more}")
    loop.call_later(STILL_EVERY_S, _announce, loop, STILL)


def _stop(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in what a shell has put in the background: SIGINT would be lost.
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def print_json(value: object) -> None:
    """One JSON object for programs; what a terminal would obey is escaped as JSON has it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    sys.stdout.write(escaped_in_json(text) + "\n")


def supervise(action: Callable[[], None], errors: Terminal, debug: bool) -> int:
    """Carry out a command and turn what went wrong into one clear line and an exit code.

    This is the only place that catches everything: behind it there is only the shell.
    """
    try:
        action()
    except KeyboardInterrupt:
        made = "; make reports this as an error" if os.environ.get("MAKELEVEL") else ""
        errors.message(f"interrupted; everything is kept, run the same command to go on{made}")
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            errors.print_exception()
        return _explain(error, errors)
    return EXIT_DONE


def _explain(error: Exception, errors: Terminal) -> int:
    if isinstance(error, BudgetExhausted):
        errors.message(f"{error}; everything is kept")
        return EXIT_BUDGET
    if isinstance(error, AcdcError | PromptError):
        errors.message(f"error: {error}", style="red")
        failed = isinstance(error, JudgingError | NoWorkerError)
        return EXIT_FAILED if failed else EXIT_USAGE
    errors.message(
        f"error: {type(error).__name__}: {error} (this is a bug in AC/DC; --debug shows where)",
        style="red",
    )
    return EXIT_FAILED
