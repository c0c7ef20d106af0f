"""A heat map of rates: a grid of squares, each of which says what it is."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import clipped, link, picture, tag, title
from memory.messages import visible

SIDE = 15
NAMES, HEADS = 96, 132
STEPS = 10
"""Classes `h0` .. `h10` of the style sheet."""


class Label(NamedTuple):
    """Of a row or a column: what is written, what is said of it, and where it leads."""

    name: str
    said: str
    to: str


def heat_map(
    label: str,
    rows: Sequence[Label],
    columns: Sequence[Label],
    cells: Sequence[Sequence[tuple[float, str] | None]],
) -> Markup:
    """Squares by rate, 0 to 1; None, where nothing is known, stays empty.

    Args:
        label: of the picture.
        rows: one for each line of squares.
        columns: one for each square of a line.
        cells: (rows, columns) of (rate, how it came about).
    """
    parts = [_column(place, column) for place, column in enumerate(columns)]
    for place, (row, line) in enumerate(zip(rows, cells, strict=True)):
        y = HEADS + SIDE * place
        written = tag(
            "text", title(row.said), clipped(row.name, 15), x=NAMES - 6, y=y + 11, text_anchor="end"
        )
        parts.append(link(row.to, written))
        parts.append(_line(y, row.name, columns, line))
    width, height = NAMES + SIDE * len(columns) + 60, HEADS + SIDE * len(rows) + 4
    return picture(width, height, label, parts, links=True)


def _column(place: int, column: Label) -> Markup:
    x, y = NAMES + SIDE * place + 11, HEADS - 6
    name = clipped(column.name, 24)
    written = tag("text", title(column.said), name, transform=f"translate({x} {y}) rotate(-60)")
    return link(column.to, written)


def _line(
    y: int, name: str, columns: Sequence[Label], line: Sequence[tuple[float, str] | None]
) -> Markup:
    # Thousands of squares: written by hand, since the elements of `tag` take their time.
    squares = []
    for place, cell in enumerate(line):
        if cell is not None:
            rate, said = cell
            told = html.escape(visible(f"{name} on {columns[place].name}: {said}"))
            squares.append(
                f'<rect x="{NAMES + SIDE * place}" y="{y}" width="14" height="14" '
                f'class="h{round(STEPS * rate)}"><title>{told}</title></rect>'
            )
    return Markup("".join(squares))
