"""`acdc report`: a run as one file that can be mailed, as JSON, CSV tables, or Inspect logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from console.errors import UsageError
from memory.messages import not_written

if TYPE_CHECKING:
    from console.view.page import Page

EXAMPLES = """Examples:

acdc report runs/quickstart    quickstart.html, one page to mail

acdc report runs/quickstart --csv tables/    every table

acdc report runs/quickstart --inspect logs/    then: inspect view start --log-dir logs/
"""


@app.command("report", epilog=EXAMPLES)
def report_command(
    folder: RunDir,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="HTML file (default: NAME.html).")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FOLDER", help="Write the tables as CSV files instead."),
    ] = None,
    inspect: Annotated[
        Path | None,
        typer.Option(
            "--inspect",
            metavar="FOLDER",
            help="Write what the archive and the seeds answered as Inspect logs instead.",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a run as one self-contained page: plots and tables, no network, no script."""

    def action() -> None:
        place = opened(folder)
        if sum((target is not None, csv is not None, inspect is not None, as_json)) > 1:
            raise UsageError("FILE, --csv, --inspect and --json exclude each other: give one")
        if inspect is not None:
            from console.inspect_logs.judged import judge_logs
            from console.inspect_logs.writing import write_logs, written_line

            files = write_logs(judge_logs(place), inspect)
            out.message(written_line(files, inspect))
            return
        from console.view.report import as_html, as_object, parts_of, write_csv

        name, parts = folder.resolve().name, parts_of(folder)
        if as_json:
            print_json(as_object(name, parts))
        elif csv is not None:
            files = write_csv(parts, csv)
            out.message(f"{len(files)} tables in {csv}")
        else:
            _write(as_html(name, parts), target or Path(f"{name}.html"))
        _warn(parts)

    finish(action, debug)


def _warn(parts: Mapping[str, Page]) -> None:
    """Say that records are damaged, which the report itself lists."""
    from console.view.report import DAMAGED

    if DAMAGED in parts:
        [table] = parts[DAMAGED].tables()
        line = f"the run is damaged, as the report says: {table.rows[0]['problem']}"
        errors.message(line, style="yellow")


def _write(page: str, file: Path) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(not_written(file, error)) from None
    size = f"{len(page.encode()) / 2**20:.1f} MiB"
    out.message(f"{file} ({size}), open it in any browser")
