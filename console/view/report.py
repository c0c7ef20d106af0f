"""A run as one page that can be mailed and printed: the same pages, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from console.errors import UsageError
from console.view.matrix import latest_archive
from console.view.page import Column, Page, Table
from console.view.render import Renderer
from console.view.site import PAGES, page_of
from console.view.source import Run, Source
from console.view.words import as_csv
from memory.errors import DamagedError
from memory.messages import not_written

LEFT_OUT = {"answers", "compare"}
"""Pages that show what somebody chooses there."""
DAMAGED = "damage"
"""The part that says what is damaged; a run that is whole has none."""


def parts_of(folder: Path) -> dict[str, Page]:
    """The pages of a run that a report has, by name; the best expert is one of them.

    If records are damaged, the first part says which.

    Raises:
        AcdcError: the run cannot be read.
    """
    source = Source(folder.resolve().name or "run", folder, base="")
    source.folder.manifest()
    with source.open() as run:
        return dict(_parts(run))


def _parts(run: Run) -> Iterator[tuple[str, Page]]:
    if damaged := [*_damaged(run)]:
        yield DAMAGED, _damage_page(damaged)
    for name in PAGES:
        if name not in LEFT_OUT:
            yield name or "overview", page_of(run, name)
        if name == "experts" and (archive := latest_archive(run)):
            page = page_of(run, name, archive[0])
            yield "best", replace(page, title=f"Best expert: {page.title}")


def _damaged(run: Run) -> Iterator[str]:
    """What is not as the run wrote it; pages look at many records at once, and check none.

    The first of each table, and of the answers of each genome.
    """
    store = run.store
    genomes = run.rows("SELECT DISTINCT genome_id AS id FROM answers ORDER BY id")
    reads: list[Callable[[], object]] = [
        store.experts,
        store.families,
        store.instances,
        store.all_skills,
        store.outcomes,
        store.assignments,
        store.calls,
        store.events,
        store.all_grades,
        # Not all at once: there may be hundreds of thousands.
        *(partial(store.answers_of, genome["id"]) for genome in genomes),
    ]
    for read in reads:
        try:
            read()
        except DamagedError as error:
            # A report is mailed: where the run lies here is nobody's business.
            yield str(error).replace(str(store.path), store.path.name)


def _damage_page(problems: Sequence[str]) -> Page:
    table = Table(
        "records",
        "Damaged records",
        [Column("problem", "what is wrong")],
        [{"problem": each} for each in problems],
    )
    lead = (
        "Records of this run were damaged or edited after it wrote them. What this report says of "
        "them may be wrong."
    )
    return Page("This run is damaged", [table], lead)


def as_html(name: str, parts: Mapping[str, Page]) -> str:
    """The report as one HTML file that needs nothing else.

    Args:
        name: of the run.
        parts: of `parts_of`.
    """
    return Renderer([]).report(name, parts)


def as_object(name: str, parts: Mapping[str, Page]) -> dict[str, Any]:
    """The report for programs: facts, texts and all rows of the tables, page by page."""
    return {"run": name, "pages": {part: page.as_json() for part, page in parts.items()}}


def write_csv(parts: Mapping[str, Page], target: Path) -> list[Path]:
    """Every table of the report as a CSV file of its own.

    Raises:
        UsageError: the folder cannot be written.
    """
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, page in parts.items():
            for table in page.tables():
                file = target / f"{name}-{table.name}.csv"
                file.write_text(as_csv(table), encoding="utf-8", newline="")
                written.append(file)
    except OSError as error:
        raise UsageError(not_written(target, error)) from None
    return written
