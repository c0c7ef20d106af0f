"""Points on a plane."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import Scale, clipped, picture, tag, wide
from memory.messages import visible

WIDTH, HEIGHT, MARGIN = 720, 520, 14
MOST_NAMED, LONGEST_NAME = 80, 36
"""Points that have their names beside them, and the characters of such a name."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


class Point(NamedTuple):
    """A point: where, of which colour, what it is called, what is said of it, where it leads."""

    x: float
    y: float
    colour: str
    name: str
    said: str
    to: str


def scatter(label: str, points: Sequence[Point]) -> Markup:
    """Points, each of them a link; the plane is stretched to fill the picture.

    Names stand beside the points where there is room for them.
    """
    across = Scale.around([point.x for point in points], MARGIN, WIDTH - MARGIN)
    upwards = Scale.around([point.y for point in points], HEIGHT - MARGIN, MARGIN)
    radius = 5 if len(points) <= 300 else 3
    places = [(across(point.x), upwards(point.y)) for point in points]
    dots = [_dot(each, x, y, radius) for each, (x, y) in zip(points, places, strict=True)]
    named = len(points) <= MOST_NAMED
    names = _names([point.name for point in points], places, radius) if named else ()
    return picture(WIDTH, HEIGHT, label, [*names, *dots], shrinks=not named, links=True)


def _names(
    names: Sequence[str], places: Sequence[tuple[float, float]], radius: int
) -> Iterator[Markup]:
    taken: list[Box] = [(x - radius, y - radius, x + radius, y + radius) for x, y in places]
    for name, (x, y) in zip(names, places, strict=True):
        text = clipped(name, LONGEST_NAME)
        long, gap = wide(text), radius + 3
        lefts = [(x + gap, y), (x - gap - long, y), (x - long / 2, y - 14), (x - long / 2, y + 14)]
        boxes = [(left, middle - 6, left + long, middle + 6) for left, middle in lefts]
        free = next((box for box in boxes if _fits(box, taken)), None)
        if free is not None:
            taken.append(free)
            yield tag("text", text, x=free[0], y=free[3] - 2)


def _fits(box: Box, taken: Sequence[Box]) -> bool:
    left, top, right, bottom = box
    inside = left >= 0 and top >= 0 and right <= WIDTH and bottom <= HEIGHT
    return inside and not any(
        left < other[2] and right > other[0] and top < other[3] and bottom > other[1]
        for other in taken
    )


def _dot(point: Point, x: float, y: float, radius: int) -> Markup:
    # Thousands of points: written by hand, since the elements of `tag` take their time.
    said, to = (html.escape(visible(text)) for text in (point.said, point.to))
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="dot {point.colour}">'
    dot += f"<title>{said}</title></circle>"
    return Markup(f'<a href="{to}" aria-label="{said}">{dot}</a>' if to else dot)
