"""`acdc serve`: the collective of a run as an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from console.commands.ask import fewer_than
from console.commands.frame import (
    METHOD,
    Alone,
    Debug,
    RunDir,
    UntilAgree,
    app,
    finish,
    note_unfinished,
    opened,
    out,
    run_async,
)
from console.errors import UsageError

if TYPE_CHECKING:
    from agents.task_force.roster import Roster


class LogFormat(StrEnum):
    """What is written to stderr while it serves."""

    text = "text"
    json = "json"


EXAMPLES = """Examples:

acdc serve runs/quickstart    then: curl http://127.0.0.1:8100/v1/models

acdc serve runs/quickstart -n 8 --select logprob --port 0
"""


@app.command(epilog=EXAMPLES)
def serve(
    folder: RunDir,
    n: Annotated[int, typer.Option("-n", min=1, help="Answers of the task force.")] = 3,
    select: Annotated[
        str, typer.Option(metavar="METHOD", help="Method of the model 'acdc'; see docs/serving.md.")
    ] = METHOD,
    host: Annotated[
        str, typer.Option(help="Bind address; beyond 127.0.0.1 a token is needed.")
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
            min=1,
            help="Maximum tokens per answer, unless a request says it (default: judge.max_tokens).",
        ),
    ] = None,
    alone: Alone = False,
    until_agree: UntilAgree = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(help="text: warnings alone; json: a line of JSON for each request as well."),
    ] = LogFormat.text,
    log_texts: Annotated[
        bool, typer.Option("--log-texts", help="Questions and replies in these lines, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve the collective of a run as an OpenAI-compatible endpoint."""

    def ready(url: str, roster: Roster) -> None:
        from agents.task_force.roster import COLLECTIVE

        if as_json:
            sys.stdout.write(json.dumps({"url": url, "models": list(roster.models)}) + "\n")
            sys.stdout.flush()
            return
        out.message(f"serving {folder} at {url}")
        if short := fewer_than(n, len(roster.models[COLLECTIVE].members)):
            out.print(short, style="yellow", highlight=False)
        out.message(f"models: {', '.join(roster.models)}")
        out.print("Ctrl-C answers the accepted requests and stops", style="dim")

    def action() -> None:
        if log_texts and log_format is not LogFormat.json:
            raise UsageError("--log-texts needs --log-format json: text has no line for a request")
        place = opened(folder)
        note_unfinished(place)
        from console.serving.server import ServeSettings
        from console.serving.server import serve as serve_

        settings = ServeSettings(
            n,
            select,
            host,
            port,
            token_env,
            queue,
            max_body,
            max_tokens,
            alone,
            until_agree,
            log_format is LogFormat.json,
            log_texts,
        )
        run_async(serve_(place, settings, ready))

    finish(action, debug)
