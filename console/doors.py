"""Commands by which questions reach a run that is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.commands.frame import (
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
from console.errors import UsageError

if TYPE_CHECKING:
    from agents.task_force.roster import Roster


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
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer; the run's own if left out.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the collective of a run: N experts answer, one answer is chosen."""

    def action() -> None:
        place = opened(folder)
        from console.commands import ask
        from console.display import Display

        with Display(errors) as display:
            reply = run_async(ask.answer(place, question, n, max_tokens, select, display))
        if short := ask.fewer_than(n, len(reply.answers)):
            errors.print(short, style="yellow", highlight=False)
        if as_json:
            print_json(ask.as_json(reply))
        else:
            ask.show(reply, out)

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
            if not place.exists():
                raise UsageError(f"{place} is neither a run folder nor a file of tasks")
            if place.is_dir():
                opened(place)
        from agents.evaluation import Plan, is_log, read_logs, read_tasks
        from console.commands import evaluate
        from console.display import Display

        folders, files = evaluate.sort_places(places)
        sizes = n or [1, 3, 8]
        with Display(errors if as_json else out) as display:
            if all(map(is_log, files)):
                logs = read_logs(files, metric, filter_)
                found = run_async(evaluate.evaluate_logs(folders, logs, sizes))
            else:
                evaluate.require_runs(folders)
                big = evaluate.big_model(big_model_url, big_model, big_model_key_env)
                plan = Plan(read_tasks(files), sizes, baselines, select or (), max_tokens, big)
                runs = run_async(evaluate.evaluate(folders, plan, display))
                found = evaluate.report(runs, max_tokens)
        if as_json:
            print_json(found)
        else:
            evaluate.show(found, out)

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
        int | None,
        typer.Option(
            min=1, help="Longest answer where a request does not say it; the run's own if left out."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve the collective of a run as an OpenAI-compatible endpoint."""

    def ready(url: str, roster: Roster) -> None:
        from agents.task_force.roster import COLLECTIVE
        from console.commands import ask

        if as_json:
            sys.stdout.write(json.dumps({"url": url, "models": list(roster.voices)}) + "\n")
            sys.stdout.flush()
            return
        out.print(f"serving {folder} at {url}", markup=False, highlight=False)
        if short := ask.fewer_than(n, len(roster.voices[COLLECTIVE].members)):
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
