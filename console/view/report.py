"""A run as one page that can be mailed and printed: the same pages, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from console.errors import UsageError
from console.view.matrix import latest_archive
from console.view.page import Page
from console.view.render import Renderer
from console.view.site import PAGES, page_of
from console.view.source import Run, Source
from console.view.words import as_csv
from memory.messages import not_written

LEFT_OUT = {"answers", "compare"}
"""Pages that show what somebody chooses there."""


def parts_of(folder: Path) -> dict[str, Page]:
    """The pages of a run that a report has, by name; the best expert is one of them.

    Raises:
        AcdcError: the run cannot be read.
    """
    source = Source(folder.resolve().name or "run", folder, base="")
    source.folder.manifest()
    with source.open() as run:
        return dict(_parts(run))


def _parts(run: Run) -> Iterator[tuple[str, Page]]:
    for name in PAGES:
        if name not in LEFT_OUT:
            yield name or "overview", page_of(run, name)
        if name == "experts" and (archive := latest_archive(run)):
            page = page_of(run, name, archive[0])
            yield "best", replace(page, title=f"Best expert: {page.title}")


def as_html(folder: Path) -> str:
    """The report as one HTML file that needs nothing else."""
    return Renderer([]).report(folder.resolve().name, parts_of(folder))


def as_object(folder: Path) -> dict[str, Any]:
    """The report for programs: facts, texts and all rows of the tables, page by page."""
    pages = {name: page.as_json() for name, page in parts_of(folder).items()}
    return {"run": folder.resolve().name, "pages": pages}


def write_csv(folder: Path, target: Path) -> list[Path]:
    """Every table of the report as a CSV file of its own.

    Raises:
        UsageError: the folder cannot be written.
    """
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, page in parts_of(folder).items():
            for table in page.tables():
                file = target / f"{name}-{table.name}.csv"
                file.write_text(as_csv(table), encoding="utf-8", newline="")
                written.append(file)
    except OSError as error:
        raise UsageError(not_written(target, error)) from None
    return written
