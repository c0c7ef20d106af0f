"""A heat map of rates: a grid of squares, each of which says what it is."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import clipped, link, picture, tag, title, wide
from memory.messages import visible

SIDE = 18
LONGEST = 48
"""Characters of a name."""
STEPS = 10
"""Classes `h0` .. `h10` of the style sheet; `hx` is a square of which nothing is known."""
LEAN = math.radians(60)
"""How names stand above their columns."""


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
    """Squares by rate, 0 to 1; None, where nothing is known, is a frame.

    Args:
        label: of the picture.
        rows: one for each line of squares.
        columns: one for each square of a line.
        cells: (rows, columns) of (rate, how it came about).
    """
    left = max((wide(clipped(row.name, LONGEST)) for row in rows), default=0.0) + 10
    above = [wide(clipped(column.name, LONGEST)) for column in columns]
    top = max(above, default=0.0) * math.sin(LEAN) + 12
    parts = [_column(left + SIDE * place, top, column) for place, column in enumerate(columns)]
    for place, (row, line) in enumerate(zip(rows, cells, strict=True)):
        y = top + SIDE * place
        name = clipped(row.name, LONGEST)
        written = tag("text", title(row.said), name, x=left - 6, y=y + 13, text_anchor="end")
        parts += [link(row.to, written), _line(left, y, row.name, columns, line)]
    ends = [SIDE * (place + 1) + long * math.cos(LEAN) for place, long in enumerate(above)]
    width, height = left + max(ends, default=0.0) + 4, top + SIDE * len(rows) + 4
    return picture(width, height, label, parts, links=True)


def _column(x: float, top: float, column: Label) -> Markup:
    name, degrees = clipped(column.name, LONGEST), round(math.degrees(LEAN))
    place = f"translate({x + 13:.1f} {top - 6:.1f}) rotate(-{degrees})"
    return link(column.to, tag("text", title(column.said), name, transform=place))


def _line(
    left: float,
    y: float,
    name: str,
    columns: Sequence[Label],
    line: Sequence[tuple[float, str] | None],
) -> Markup:
    # Thousands of squares: written by hand, since the elements of `tag` take their time.
    squares = []
    for place, cell in enumerate(line):
        x, side = f"{left + SIDE * place:.0f}", SIDE - 1
        if cell is None:
            squares.append(
                f'<rect x="{x}.5" y="{y + 0.5:.1f}" width="{side - 1}" height="{side - 1}" '
                'class="hx"/>'
            )
            continue
        rate, said = cell
        told = html.escape(visible(f"{name} on {columns[place].name}: {said}"))
        squares.append(
            f'<rect x="{x}" y="{y:.0f}" width="{side}" height="{side}" '
            f'class="h{round(STEPS * rate)}"><title>{told}</title></rect>'
        )
    return Markup("".join(squares))
