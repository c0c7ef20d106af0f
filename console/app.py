"""The `acdc` command. Each command parses its words, calls one function and prints the outcome."""

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

from console.errors import UsageError
from console.rundir import RunFolder

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


def _tell_version(asked: bool) -> None:
    if asked:
        from console.calling import version

        out.print(f"acdc {version()}", highlight=False)
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version, and end."
        ),
    ] = False,
) -> None:
    """Coevolve LLM experts and the tasks that challenge them, and ask the collective."""


def main() -> None:
    """Entry point of the `acdc` command."""
    # The display of a run is ours alone; libraries must not draw bars or warnings into it.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import console.doors  # noqa: F401 (its commands register themselves)

    app()


@app.command()
def run(
    folder: RunDir = Path("runs/quickstart"),
    config: ConfigFile = None,
    set_: Overrides = None,
    allow_unsafe_sandbox: Annotated[
        bool, typer.Option(help="Run code that an LLM wrote without isolation.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a coevolution, or go on with one that was interrupted."""
    from console import closing, status
    from console.display import Display
    from memory.errors import AcdcError

    place = RunFolder(folder)

    def action() -> None:
        fresh = not place.exists()
        unsafe = ("sandbox.allow_unsafe=true",) if allow_unsafe_sandbox else ()
        settings = place.begin(config, (*(set_ or ()), *unsafe))
        # Only now: it takes seconds to load what runs, and a wrong word is told at once.
        from console import coevolution

        try:
            with Display(errors if as_json else out, "starting") as display:
                run_async(coevolution.coevolve(place, settings, display))
        except AcdcError as error:
            if fresh:
                coevolution.undo_unborn(place, error)
            raise
        if as_json:
            print_json(status.collect(place))
        else:
            closing.show(place, out)

    finish(action, debug)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE")] = Path("acdc.toml"),
    scientist_url: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint.")
    ] = None,
    scientist_model: Annotated[str | None, typer.Option(help="Model name at the endpoint.")] = None,
    base: Annotated[str | None, typer.Option(help="Base: a folder, hub id or GGUF.")] = None,
    seed_model: Annotated[
        list[str] | None, typer.Option(help="A seed: folder, hub id or adapter; repeat it.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a commented configuration file."""
    from console import calling, initialise

    def action() -> None:
        settings = initialise.filled_in(scientist_url, scientist_model, base, seed_model or [])
        initialise.write_config(file, settings)
        following = calling.line("run", "runs/mine", "--config", file)
        if as_json:
            print_json({"file": str(file), "next": following})
        else:
            out.print(f"wrote {file}; run it with: {following}", markup=False, soft_wrap=True)

    finish(action, debug)


@app.command()
def status(folder: RunDir, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show where a run stands: archive, pool, Coverage, calls, time."""
    from console import status as status_

    def action() -> None:
        found = status_.collect(RunFolder(folder))
        if as_json:
            print_json(found)
        else:
            status_.show(found, out)

    finish(action, debug)


@app.command()
def trace(
    folder: RunDir,
    family: Annotated[str | None, typer.Option(help="A family or assignment.")] = None,
    expert: Annotated[str | None, typer.Option(help="An expert.")] = None,
    role: Annotated[
        str | None, typer.Option(help="Only calls of scientist, critic, rater or chooser.")
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only what was rejected.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Whole conversations, not a line for each assignment.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read what the agents said: propose, trial, critique, refine.

    Without --family, --expert, --role or --full: one line for each assignment, and what came of it.
    """
    from console import trace as trace_

    def action() -> None:
        found = trace_.collect(RunFolder(folder), family, expert, trace_.role_named(role), rejected)
        if as_json:
            print_json(found)
        else:
            brief = not (full or family or expert or role)
            trace_.show(found, out, brief)

    finish(action, debug)


@app.command()
def ask(
    folder: RunDir,
    question: Annotated[str, typer.Argument(help="What to ask the collective.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Size of the task force.")] = 3,
    select: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="How one answer is chosen; majority, logprob, chooser, ..."
        ),
    ] = METHOD,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the collective of a run: N experts answer, one answer is chosen."""

    def action() -> None:
        place = opened(folder)
        from console import asking
        from console.display import Display
        from memory.records import Sampling

        with Display(errors) as display:
            sampling = Sampling(max_tokens=max_tokens)
            reply = run_async(asking.answer(place, question, n, sampling, select, display))
        if short := asking.fewer_than(n, len(reply.answers)):
            errors.print(short, style="yellow", highlight=False)
        if as_json:
            print_json(asking.as_json(reply))
        else:
            asking.show(reply, out)

    finish(action, debug)


@app.command()
def evaluate(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="DIR... TASKS...", help="Run folders, and files of tasks."),
    ],
    n: Annotated[
        list[int] | None, typer.Option("-n", min=1, help="Answers per task; repeat it.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the baselines of equal budget too.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD", help="A method of best-of-N that needs a judge; repeat it."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer; the run's own if left out.")
    ] = None,
    big_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model to compare with, at an endpoint.")
    ] = None,
    big_model_url: Annotated[str | None, typer.Option(help="Base URL of that endpoint.")] = None,
    big_model_key_env: Annotated[
        str, typer.Option(help="Variable that holds the key of that endpoint.")
    ] = "",
    metric: Annotated[
        str | None, typer.Option(help="Of sample logs: the metric whose 1 means solved.")
    ] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Of sample logs: the filter, if several.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a run on held-out tasks, or sample logs of lm-evaluation-harness."""

    def action() -> None:
        for place in places:
            if place.is_dir() or not place.exists():
                opened(place)
        from agents.evaluation import Plan, is_log, read_logs, read_tasks
        from console import evaluating
        from console.display import Display

        folders, files = evaluating.sort_places(places)
        sizes = n or [1, 3, 8]
        with Display(errors if as_json else out) as display:
            if all(map(is_log, files)):
                logs = read_logs(files, metric, filter_)
                found = run_async(evaluating.evaluate_logs(folders, logs, sizes))
            else:
                evaluating.require_runs(folders)
                big = evaluating.big_model(big_model_url, big_model, big_model_key_env)
                plan = Plan(read_tasks(files), sizes, baselines, select or (), max_tokens, big)
                runs = run_async(evaluating.evaluate(folders, plan, display))
                found = evaluating.report(runs, max_tokens)
        if as_json:
            print_json(found)
        else:
            evaluating.show(found, out)

    finish(action, debug)


@app.command()
def study(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A study file (TOML).")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a grid of seeds and variants, and measure what each departure costs."""
    from console import study as study_
    from console.display import Display
    from console.variants import read_study

    def action() -> None:
        settings = read_study(file)
        with Display(errors if as_json else out) as display:
            found = run_async(study_.conduct(settings, display))
        if as_json:
            print_json(found)
        else:
            study_.show(found, out)

    finish(action, debug)


@app.command()
def export(
    folder: RunDir,
    expert: Annotated[str, typer.Argument(metavar="EXPERT", help="Its name in the run.")],
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="An empty or new folder.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the model in a folder that is not empty.")
    ] = False,
    shard_gb: Annotated[
        float, typer.Option(min=0.001, help="Largest weight file, in gigabytes.")
    ] = 5.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write an expert as a Hugging Face folder, with recipe and model card."""

    def action() -> None:
        place = opened(folder)
        from console import exporting

        written = exporting.export(place, expert, out_folder, force, shard_gb)
        if as_json:
            print_json(exporting.as_json(written))
        else:
            exporting.show(written, out)

    finish(action, debug)


@app.command()
def doctor(
    config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check machine, sandbox, seeds and endpoints before a run."""
    from console import doctor as doctor_
    from console.config import resolve

    def action() -> None:
        findings = run_async(doctor_.examine(resolve(config, set_ or [])))
        if as_json:
            print_json(doctor_.as_json(findings))
        else:
            doctor_.show(findings, out)
        if any(finding.state == "failed" for finding in findings):
            raise UsageError("something that a run needs failed, see above")

    finish(action, debug)


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
