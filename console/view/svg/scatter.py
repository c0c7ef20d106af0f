"""Points on a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import Scale, link, picture, tag, title

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
    dots = [
        link(
            point.to,
            tag(
                "circle",
                title(point.said),
                cx=across(point.x),
                cy=upwards(point.y),
                r=radius,
                class_=f"dot {point.colour}",
            ),
            aria_label=point.said,
        )
        for point in points
    ]
    return picture(WIDTH, HEIGHT, label, dots, shrinks=True, links=True)
