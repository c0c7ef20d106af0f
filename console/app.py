"""The `acdc` command: its entry, and what makes runs.

Each command parses its words, calls one function and prints the outcome.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer

from console.commands.frame import (
    AsJson,
    ConfigFile,
    Debug,
    Overrides,
    RunDir,
    app,
    errors,
    finish,
    out,
    print_json,
    run_async,
)
from console.errors import UsageError
from console.run.folder import RunFolder


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
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Commands register themselves, and stand in the help in this order.
    importlib.import_module("console.windows")
    importlib.import_module("console.doors")

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
    from console.commands import run, status
    from console.display import Display
    from memory.errors import AcdcError

    place = RunFolder(folder)

    def action() -> None:
        fresh = not place.exists()
        unsafe = ("sandbox.allow_unsafe=true",) if allow_unsafe_sandbox else ()
        wanted = place.wanted(config, (*(set_ or ()), *unsafe))
        try:
            with Display(errors if as_json else out, "starting") as display:
                settings = place.begin_as(wanted)
                # Only now: it takes seconds to load what runs, and a wrong word is told at once.
                from console.run import coevolution

                run_async(coevolution.coevolve(place, settings, display))
        except AcdcError as error:
            if fresh and place.exists():
                from console.run import coevolution

                coevolution.undo_unborn(place, error)
            raise
        if as_json:
            print_json(status.collect(place))
        else:
            run.show(place, out)

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
    from console import calling
    from console.commands import init

    def action() -> None:
        settings = init.filled_in(scientist_url, scientist_model, base, seed_model or [])
        init.write_config(file, settings)
        name = "mine" if file.stem == "acdc" else file.stem
        following = calling.line("run", f"runs/{name}", "--config", file)
        if as_json:
            print_json({"file": str(file), "next": following})
        else:
            out.print(f"wrote {file}; run it with: {following}", markup=False, soft_wrap=True)

    finish(action, debug)


@app.command()
def doctor(
    config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check machine, sandbox, seeds and endpoints before a run."""
    from console.commands import doctor as doctor_
    from console.run.config import resolve

    def action() -> None:
        findings = run_async(doctor_.examine(resolve(config, set_ or [])))
        if as_json:
            print_json(doctor_.as_json(findings))
        else:
            doctor_.show(findings, out)
        if any(finding.state == "failed" for finding in findings):
            raise UsageError("something that a run needs failed, see above")

    finish(action, debug)


@app.command()
def study(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A study file (TOML).")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a grid of seeds and variants, and measure what each departure costs."""
    from console.commands import study as study_
    from console.commands.study_file import read_study
    from console.display import Display

    def action() -> None:
        settings = read_study(file)
        with Display(errors if as_json else out) as display:
            found = run_async(study_.conduct(settings, display))
        if as_json:
            print_json(found)
        else:
            study_.show(found, out)

    finish(action, debug)
