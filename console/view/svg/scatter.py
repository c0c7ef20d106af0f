"""Points on a plane."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import Scale, picture
from memory.messages import visible

WIDTH, HEIGHT, MARGIN = 720, 520, 14


class Point(NamedTuple):
    """A point: where, of which colour, what is said of it, and where it leads."""

    x: float
    y: float
    colour: str
    said: str
    to: str


def scatter(label: str, points: Sequence[Point]) -> Markup:
    """Points, each of them a link; the plane is stretched to fill the picture."""
    across = Scale.around([point.x for point in points], MARGIN, WIDTH - MARGIN)
    upwards = Scale.around([point.y for point in points], HEIGHT - MARGIN, MARGIN)
    radius = 5 if len(points) <= 300 else 3
    dots = [_dot(point, across(point.x), upwards(point.y), radius) for point in points]
    return picture(WIDTH, HEIGHT, label, dots, shrinks=True, links=True)


def _dot(point: Point, x: float, y: float, radius: int) -> Markup:
    # Thousands of points: written by hand, since the elements of `tag` take their time.
    said, to = (html.escape(visible(text)) for text in (point.said, point.to))
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="dot {point.colour}">'
    dot += f"<title>{said}</title></circle>"
    return Markup(f'<a href="{to}" aria-label="{said}">{dot}</a>' if to else dot)
