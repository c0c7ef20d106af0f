"""The `acdc` command: its entry, and its commands in the order of the help.

Each command is a file in `console/commands/`: it parses its words, calls one function and prints
the outcome. Importing them loads nothing heavy.
"""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from console import calling
from console.commands.frame import app, out
from console.display import VisibleFormatter

# isort: off
from console.commands import run, init, doctor, status, trace, view, report  # noqa: F401
from console.commands import ask, serve, evaluate, compare, study, export, audit, trust  # noqa: F401
# isort: on


def _show_version(asked: bool) -> None:
    if asked:
        out.print(f"acdc {calling.version()}", highlight=False)
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and end."
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
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(VisibleFormatter())
    app()
