"""Pages as HTML: one template lays out all of them, and whatever a model wrote is escaped there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from console.view.page import (
    IN_REPORT,
    PER_PAGE,
    Column,
    Page,
    Query,
    Row,
    Table,
    linked,
    number_in,
    quoted,
)
from console.view.site import PAGES
from console.view.source import Source
from console.view.words import NOTHING, cut, shown
from memory.messages import visible

_HERE = Path(__file__).parent
LIVE_SECONDS = 3
LONGEST_CELL = 400
"""Characters of one cell."""
LONGEST_FACT = 2_000
"""Characters of the value of a fact: a browser takes seconds to lay out a longer word."""
LONG_TEXT = 60
"""Characters from which a column is kept wide enough to read."""
_EMPTY: tuple[object, ...] = (None, "", [])


class Renderer:
    """Fills the templates.

    Args:
        sources: the runs that there are.
        asking: whether the task force may be asked.
    """

    def __init__(self, sources: Sequence[Source], *, asking: bool = False) -> None:
        self._sources = sources
        self._navigation = {name: entry.title for name, entry in PAGES.items()}
        if asking:
            self._navigation["ask"] = "Ask"
        self._environment = environment()

    def page(
        self, source: Source, page: Page, name: str, rest: str, query: Query, version: str | None
    ) -> str:
        """A page of a run.

        Without a version it is the reply to a form: it stays as it is while the run goes on, and
        has no address under which its tables could be had in another form.
        """
        base = source.base
        here = base + name + (f"/{quoted(rest)}" if rest else "")
        return self._environment.get_template("page.html").render(
            page=page,
            base=base,
            here=here,
            view=View(base, here, query, fixed=version is None),
            name=name,
            source=source,
            sources=self._sources,
            navigation=self._navigation,
            query=query,
            version=version,
            live=LIVE_SECONDS,
        )

    def report(self, name: str, pages: Mapping[str, Page]) -> str:
        """Some pages in one file that needs nothing else."""
        style = (_HERE / "static" / "view.css").read_text(encoding="utf-8")
        return self._environment.get_template("report.html").render(
            name=name,
            pages=pages,
            views={part: View("", "", {}, prefix=f"{part}-", whole=True) for part in pages},
            # Our own style sheet: what is between the tags is no markup.
            style=Markup(style),
        )

    def home(self, sources: Sequence[Source], states: Sequence[str]) -> str:
        """The list of runs, each with its state in a line."""
        rows = [
            (source.base, source.name, str(source.folder.path), state)
            for source, state in zip(sources, states, strict=True)
        ]
        return self._environment.get_template("home.html").render(rows=rows)


class View:
    """What a template asks about the page that it lays out.

    Args:
        base: address of the run.
        here: address of the page.
        query: its parameters.
        prefix: of the names of places in the page.
        whole: whether it is to be read as it is, as on paper: no links, nothing folded.
        fixed: whether its tables can neither be sorted nor taken away; what is whole is fixed too.
    """

    def __init__(
        self,
        base: str,
        here: str,
        query: Query,
        *,
        prefix: str = "",
        whole: bool = False,
        fixed: bool = False,
    ) -> None:
        self.base = base
        self.here = here
        self.query = query
        self.prefix = prefix
        self.whole = whole
        self.fixed = fixed or whole

    def with_(self, **changes: str | int) -> str:
        """This page with other parameters; those that are empty are left out."""
        query = {**self.query, **{name: str(value) for name, value in changes.items()}}
        said = urlencode({name: value for name, value in query.items() if value}, errors="replace")
        return f"{self.here}?{said}" if said else self.here

    def sorting(self, table: Table, key: str, numeric: bool) -> str:
        """This page with a table sorted by a column: numbers from the largest, then the reverse."""
        present = self.order(table)
        first, second = (f"-{key}", key) if numeric else (key, f"-{key}")
        wanted = second if present == first else first
        return self.with_(**{f"sort.{table.name}": wanted, f"page.{table.name}": ""})

    def order(self, table: Table) -> str:
        """By what a table is sorted."""
        return self.query.get(f"sort.{table.name}", table.order)

    def orders(self) -> list[tuple[str, str]]:
        """By what tables were sorted in the query, which a filter keeps."""
        return [(name, by) for name, by in self.query.items() if name.startswith("sort.") and by]

    def sorted_as(self, table: Table, key: str) -> str | None:
        """How a column is sorted, in the words of `aria-sort`."""
        return {key: "ascending", f"-{key}": "descending"}.get(self.order(table))

    def number(self, table: Table) -> int:
        """Which page of a table is shown, from 1."""
        asked = number_in(self.query.get(f"page.{table.name}", ""), 1)
        return min(max(asked, 1), self.pages(table))

    def pages(self, table: Table) -> int:
        """How many pages a table has."""
        return max(1, -(-len(table.rows) // PER_PAGE))

    def rows(self, table: Table) -> Sequence[dict[str, Any]]:
        """The rows that are shown."""
        if self.whole:
            return table.rows[:IN_REPORT]
        start = (self.number(table) - 1) * PER_PAGE
        return table.rows[start : start + PER_PAGE]

    def columns(self, table: Table) -> Sequence[Column]:
        """The columns in which anything stands."""
        return [
            column
            for column in table.columns
            if not column.apart and any(_says(column, row.get(column.key)) for row in table.rows)
        ]

    def cells(self, columns: Sequence[Column], row: Row) -> Markup:
        """A line of a table; not by the template, which would take its time over thousands."""
        return Markup("".join(self._cell(column, row) for column in columns))

    def _cell(self, column: Column, row: Row) -> str:
        value = row.get(column.key)
        if column.kind == "names":
            written = Markup(", ").join(
                self._link(column, row, _called(column, name), name) for name in value or ()
            )
            return f"<td>{written or NOTHING}</td>"
        text = cut(shown(_called(column, value), column.kind), LONGEST_CELL)
        written = self._link(column, row, text) if value is not None else _safe(text)
        if column.numeric:
            return f'<td class="number">{written}</td>'
        if column.kind == "verdict":
            look = text.replace(" ", "-")
            return f'<td><span class="verdict {look}">{written}</span></td>'
        if column.kind == "code" and not column.to:
            written = Markup(f"<code>{written}</code>")
        look = ' class="long"' if len(text) > LONG_TEXT else ""
        return f'<td{look} dir="auto">{written}</td>'

    def _link(self, column: Column, row: Row, text: str, name: str = "") -> Markup:
        if not column.to or self.whole:
            return _safe(text)
        to = linked(column.to, row, name)
        address = escape(to if to.startswith("/") else self.base + to)
        return Markup(f'<a href="{address}">{_safe(text)}</a>')


def _says(column: Column, value: Any) -> bool:
    return bool(value) if column.kind in ("yes", "failed") else value not in _EMPTY


def _called(column: Column, value: Any) -> Any:
    """What a person reads in place of an id."""
    return column.called.get(value, value) if column.called else value


def _safe(text: str) -> Markup:
    return escape(visible(text))


def error_page(title: str, message: str, back: str = "") -> str:
    """What went wrong, and, if there is one, the page that leads back."""
    template = environment().get_template("error.html")
    return template.render(title=title, message=message, back=back)


@cache
def fingerprint(name: str) -> str:
    """Of a static file, so that browsers fetch a new one after an upgrade."""
    return hashlib.sha256((_HERE / "static" / name).read_bytes()).hexdigest()[:12]


@cache
def environment() -> Environment:
    """Jinja, in which everything is escaped, and no control character gets through."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.globals["fingerprint"] = fingerprint
    environment.globals["longest_fact"] = LONGEST_FACT
    environment.filters["shown"] = shown
    environment.filters["cut"] = cut
    return environment


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
