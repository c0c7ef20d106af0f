"""What a page of the viewer is made of: facts, tables, figures, texts and a form of filters.

A page is plain values. The HTML, the JSON and the CSV of a page, and the report, all come from
these, so what is seen is what can be taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from markupsafe import Markup

from console.errors import RequestError

Row = dict[str, Any]
Query: TypeAlias = Mapping[str, str]
"""The parameters of a URL, one value each."""
Kind = Literal[
    "text",
    "code",
    "count",
    "number",
    "share",
    "gain",
    "seconds",
    "usd",
    "time",
    "verdict",
    "names",
    "yes",
    "failed",
]
"""How a value is written: `share` and `gain` with two digits, `names` as a list of links; `yes` and
`failed` are a word where something holds, and nothing where it does not."""
PER_PAGE = 100
"""Rows of a table that a page shows at once."""
IN_REPORT = 40
"""Rows of a table that a report shows."""
NUMERIC: frozenset[Kind] = frozenset({"count", "number", "share", "gain", "seconds", "usd"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: of the value in a row; also what it is called in JSON and CSV.
        label: what a person reads.
        to: page to which the value is a link, with keys of the row in it, as in `tasks/{id}`; of
            `names`, `{}` stands for each of them. A page of another run begins with "/". "" for
            none.
        called: of ids, alone or as `names`: id -> what a person reads in its place.
        apart: whether it stands in CSV and JSON alone.
    """

    key: str
    label: str
    kind: Kind = "text"
    to: str = ""
    called: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False

    @property
    def numeric(self) -> bool:
        """Whether its values stand at the right, below each other."""
        return self.kind in NUMERIC


@dataclass(frozen=True)
class Table:
    """Rows that can be sorted, and taken away as CSV or JSON.

    Attributes:
        name: in URLs.
        order: key by which it is sorted unless somebody says otherwise, `-key` for the largest
            first; "" for the order of the rows.
        lookup: whether it is only there to look things up: a report that is read leaves it out.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    order: str = ""
    lookup: bool = False
    section: str = "table"

    def sorted_by(self, order: str) -> Table:
        """The same with its rows in another order; absent values stand last.

        Raises:
            RequestError: there is no such column.
        """
        key, descending = order.removeprefix("-"), order.startswith("-")
        if not key:
            return self
        keys = [column.key for column in self.columns]
        if key not in keys:
            raise RequestError(f"sort.{self.name}={key!r} is unknown; it has: {', '.join(keys)}")
        known = [row for row in self.rows if row.get(key) is not None]
        absent = [row for row in self.rows if row.get(key) is None]
        known.sort(key=lambda row: _sortable(row[key]), reverse=descending)
        return replace(self, rows=[*known, *absent])


def _sortable(value: Any) -> Any:
    """Numbers before texts; whatever else there is, by what is read of it."""
    if isinstance(value, int | float):
        return (0, value)
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return (1, text.casefold())


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of `Facts`; `to` is the page that says more."""

    label: str
    value: Any
    kind: Kind = "text"
    to: str = ""


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    title: str
    items: Sequence[Fact]
    note: str = ""
    section: str = "facts"


@dataclass(frozen=True)
class Figure:
    """A picture that the server draws; `key` explains its colours: (class, words)."""

    title: str
    svg: Markup
    note: str = ""
    key: Sequence[tuple[str, str]] = ()
    section: str = "figure"


@dataclass(frozen=True)
class Text:
    """What somebody wrote: a question, a program, a message.

    Attributes:
        folded: whether only the title is seen at first.
        mark: what it is, for its looks: `right`, `wrong`, `scientist`, ...
    """

    title: str
    text: str
    folded: bool = False
    mark: str = ""
    note: str = ""
    section: str = "text"


@dataclass(frozen=True, slots=True)
class Choice:
    """One field of a form: a list of options, or a text if there are none.

    Attributes:
        long: whether the text has lines.
        closed: whether there are no other values than the options, whatever is in the run.
    """

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, str]] = ()
    long: bool = False
    closed: bool = False

    def offered(self) -> Sequence[tuple[str, str]]:
        """The options, and the value itself where it is none of them: a form says what it shows."""
        if not self.options or self.value in dict(self.options):
            return self.options
        return [*self.options, (self.value, self.value)]

    def check(self) -> None:
        """Look whether the value is possible.

        Raises:
            RequestError: it is none of a closed list.
        """
        known = dict(self.options)
        if self.closed and self.value not in known:
            values = ", ".join(filter(None, known))
            raise RequestError(f"{self.name}={self.value!r} is unknown; there are: {values}")


@dataclass(frozen=True)
class Form:
    """Filters, as a form whose answer is a URL that can be shared; or a question that is posted."""

    choices: Sequence[Choice]
    button: str = "Show"
    post: bool = False
    section: str = "form"


@dataclass(frozen=True)
class Links:
    """Where to go from here: (page, words)."""

    title: str
    items: Sequence[tuple[str, str]]
    section: str = "links"


Section = Facts | Table | Figure | Text | Form | Links


@dataclass(frozen=True)
class Page:
    """One view.

    Attributes:
        lead: a sentence below the title.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    crumbs: Sequence[tuple[str, str]] = field(default=())

    def tables(self) -> Iterator[Table]:
        """Its tables, in order."""
        return (each for each in self.sections if isinstance(each, Table))

    def table(self, name: str) -> Table | None:
        """The table of a name, None if there is none."""
        return next((each for each in self.tables() if each.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """All that it says, for programs."""
        facts = {
            fact.label: fact.value
            for part in self.sections
            if isinstance(part, Facts)
            for fact in part.items
        }
        texts = [
            {"title": part.title, "text": part.text, "note": part.note}
            for part in self.sections
            if isinstance(part, Text)
        ]
        tables = {table.name: list(table.rows) for table in self.tables()}
        return {"title": self.title, "facts": facts, "tables": tables, "texts": texts}


def number_in(said: str, otherwise: int) -> int:
    """The number that a query names; one of ten digits or more is larger than any table.

    Raises:
        RequestError: it is none.
    """
    if not said:
        return otherwise
    if not said.isdecimal():
        raise RequestError(f"{said!r} is not a number")
    return int(said) if len(said) < 10 else 10**9


def quoted(name: str) -> str:
    """A name as one part of an address; half a character, which none could hold, is replaced."""
    return quote(name, safe="", errors="replace")


def at(page: str, name: str = "", **query: str) -> str:
    """The address of a page of the run, as links have it."""
    path = f"{page}/{quoted(name)}" if name else page
    return f"{path}?{urlencode(query, errors='replace')}" if query else path


def linked(pattern: str, row: Row, name: str = "") -> str:
    """The address that a column's `to` means for a row, or for one name of a cell of `names`."""
    if pattern.endswith("{}"):
        return pattern.replace("{}", quoted(name))
    values = {key: quoted(str(value)) for key, value in row.items() if value is not None}
    return pattern.format_map(values)


def ordered(page: Page, query: Query) -> Page:
    """A page with its tables sorted as a URL asks: `sort.experts=-fitness`.

    Raises:
        RequestError: a table has no such column, or a filter no such value.
    """
    for part in page.sections:
        if isinstance(part, Form):
            for choice in part.choices:
                choice.check()
    sections = [
        part.sorted_by(query.get(f"sort.{part.name}", part.order))
        if isinstance(part, Table)
        else part
        for part in page.sections
    ]
    return replace(page, sections=sections)
