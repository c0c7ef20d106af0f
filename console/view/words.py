"""Values as people and spreadsheets read them."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

from console.view.page import Column, Kind, Table
from memory.messages import visible

LONGEST = 20_000
"""Characters of one text that a page shows; JSON has all of it."""
NOTHING = "-"
_VERDICTS = {True: "right", False: "wrong", None: "not graded"}


def shown(value: Any, kind: Kind = "text") -> str:
    """A value for a person."""
    if kind == "verdict":
        return _VERDICTS[None if value is None else bool(value)]
    if kind in ("yes", "failed"):
        return kind if value else ""
    if value is None or value == "":
        return NOTHING
    match kind:
        case "count":
            return f"{value:,.0f}"
        case "number":
            return f"{value:.3g}"
        case "share":
            return f"{value:.2f}"
        case "gain":
            return f"{value:+.2f}"
        case "seconds":
            return duration(value)
        case "usd":
            return f"{value:,.2f}" if value >= 1 else f"{value:.2g}"
        case "time":
            return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        case "names":
            return ", ".join(map(str, value)) or NOTHING
        case _:
            return str(value)


def duration(seconds: float) -> str:
    """A length of time with its two largest units."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def cut(text: str, most: int = LONGEST) -> str:
    """The beginning of a long text, and how much is left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[{len(text) - most:,} more characters; the JSON of this page has them]"


def as_csv(table: Table) -> str:
    """All rows of a table, for a spreadsheet that computes nothing of what a model wrote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.key for column in table.columns])
    for row in table.rows:
        writer.writerow([_cell(row.get(column.key), column) for column in table.columns])
    return out.getvalue()


def _cell(value: Any, column: Column) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = visible(" ".join(map(str, value)) if column.kind == "names" else str(value))
    return f"'{text}" if text[:1] in "=+-@\t\r" and not _is_number(text) and text else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
