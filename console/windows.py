"""Commands that look into a run that is there, or take something out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.commands.frame import (
    AsJson,
    Debug,
    RunDir,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
)
from console.run.folder import RunFolder


@app.command()
def status(folder: RunDir, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show where a run stands: archive, pool, Coverage, calls, time."""
    from console.commands import status as status_

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
    from console.commands import trace as trace_

    def action() -> None:
        found = trace_.collect(RunFolder(folder), family, expert, trace_.role_named(role), rejected)
        if as_json:
            print_json(found)
        else:
            brief = not (full or family or expert or role)
            trace_.show(found, out, brief)

    finish(action, debug)


@app.command()
def audit(
    folder: RunDir,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", metavar="FILE", help="A file of benchmark questions; more may follow it."
        ),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="More files of benchmark questions, as behind --against.",
            show_default=False,
        ),
    ] = None,
    similarity: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine from which a family repeats a question.")
    ] = 0.8,
    ngram: Annotated[
        int, typer.Option(min=1, help="Words of an n-gram; 13 as in GPT-3, 8 as in PaLM.")
    ] = 13,
    overlap: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of a question's n-grams above which it does; 0: any."
        ),
    ] = 0.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find families that repeat a benchmark, and tell how diverse and open-ended a run is."""

    def action() -> None:
        place = opened(folder)
        from console.commands import audit
        from console.display import Display

        limits = audit.Limits(similarity, ngram, overlap)
        files = [*(against or []), *(more or [])]
        with Display(errors) as display:
            found = audit.collect(place, files, limits, display)
        if as_json:
            print_json(found)
        else:
            audit.show(found, out)

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
        from console.commands import export

        written = export.export(place, expert, out_folder, force, shard_gb)
        if as_json:
            print_json(export.as_json(written))
        else:
            export.show(written, out)

    finish(action, debug)
