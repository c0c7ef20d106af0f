"""Commands about a run that is there: `acdc audit` and `acdc serve`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.app import (
    METHOD,
    AsJson,
    Debug,
    RunDir,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
    run_async,
)

if TYPE_CHECKING:
    from agents.answering import Roster


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
        from console import auditing
        from console.display import Display

        limits = auditing.Limits(similarity, ngram, overlap)
        files = [*(against or []), *(more or [])]
        with Display(errors) as display:
            found = auditing.collect(place, files, limits, display)
        if as_json:
            print_json(found)
        else:
            auditing.show(found, out)

    finish(action, debug)


@app.command()
def serve(
    folder: RunDir,
    n: Annotated[int, typer.Option("-n", min=1, help="Size of the task force.")] = 3,
    select: Annotated[
        str, typer.Option(metavar="METHOD", help="Method of the model 'acdc'; see docs/serving.md.")
    ] = METHOD,
    host: Annotated[
        str, typer.Option(help="Address; beyond the loopback a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8100,
    token_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Variable that holds the bearer token.")
    ] = "ACDC_SERVE_TOKEN",
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more get 429.")] = 256,
    max_body: Annotated[int, typer.Option(min=1024, help="Bytes of one request.")] = 1 << 20,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer where a request does not say it.")
    ] = 256,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve the collective of a run as an OpenAI-compatible endpoint."""

    def ready(url: str, roster: Roster) -> None:
        from agents.answering import COLLECTIVE
        from console import asking

        if as_json:
            sys.stdout.write(json.dumps({"url": url, "models": list(roster.voices)}) + "\n")
            sys.stdout.flush()
            return
        out.print(f"serving {folder} at {url}", markup=False, highlight=False)
        if short := asking.fewer_than(n, len(roster.voices[COLLECTIVE].members)):
            out.print(short, style="yellow", highlight=False)
        out.print(f"models: {', '.join(roster.voices)}", markup=False, highlight=False)
        out.print("Ctrl-C answers what was accepted, and ends", style="dim")

    def action() -> None:
        place = opened(folder)
        from console.serving import ServeSettings
        from console.serving import serve as serve_

        settings = ServeSettings(n, select, host, port, token_env, queue, max_body, max_tokens)
        run_async(serve_(place, settings, ready))

    finish(action, debug)
