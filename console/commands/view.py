"""`acdc view`: runs in a browser, live or finished."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from console import calling
from console.commands.frame import Debug, app, finish, out, run_async
from console.errors import UsageError

RUNS = Path("runs")


EXAMPLES = """Examples:

acdc view    all runs in the folder runs

acdc view runs/quickstart --ask --open    with a page for questions, in your browser
"""


@app.command("view", epilog=EXAMPLES)
def view_command(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...", help="Run folders, or folders that hold some (default: runs)."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Bind address; beyond 127.0.0.1 a token is in the URL.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8200,
    ask: Annotated[
        bool, typer.Option("--ask", help="Questions may be asked: loads the models on the first.")
    ] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open a browser as well.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Look at runs in a browser, while they go on or later; nothing in them is changed."""

    def ready(url: str) -> None:
        if as_json:
            sys.stdout.write(json.dumps({"url": url}) + "\n")
            sys.stdout.flush()
        else:
            out.message(f"open {url}")
            out.print("Ctrl-C stops", style="dim")
        if browser:
            import webbrowser

            webbrowser.open(url)

    def action() -> None:
        from console.view.ahead import read_ahead
        from console.view.source import find_runs

        if not folders and not RUNS.is_dir():
            raise UsageError(f"there is no folder runs here; name one: {calling.line('view')} DIR")
        sources = find_runs(folders or [RUNS])
        reading = read_ahead(sources)
        # While it reads.
        from console.view.server import ViewSettings, view

        run_async(view(sources, ViewSettings(host, port, ask), ready, reading))

    finish(action, debug)
