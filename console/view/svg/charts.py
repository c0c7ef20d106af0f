"""Charts: lines over a number, and bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import COLOURS, Scale, clipped, compact, picture, tag, title, wide

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BELOW = 44, 12, 12, 38
MOST_POINTS = 240
LONGEST_NAME = 40
"""Characters of the name of a bar."""


class Line(NamedTuple):
    """A series: its name, and (x, y) in the order of x; y is None where there is nothing."""

    name: str
    points: Sequence[tuple[float, float | None]]


def line_chart(
    label: str,
    lines: Sequence[Line],
    x_label: str,
    write_x: Callable[[float], str] = compact,
    whole: bool = False,
) -> Markup:
    """Lines over a number, from 0 upwards; each point says what it is.

    Args:
        label: of the picture.
        lines: at most as many as there are colours.
        x_label: what lies below.
        write_x: how a value below is written.
        whole: whether only whole numbers stand below.
    """
    known = [(x, y) for line in lines for x, y in line.points if y is not None]
    across = Scale.around([x for x, _ in known], LEFT, WIDTH - RIGHT)
    upwards = Scale(0, max([1e-9, *(y for _, y in known)]) * 1.05, HEIGHT - BELOW, TOP)
    parts = [*_axes(across, upwards, x_label, write_x, whole)]
    for number, line in enumerate(lines):
        parts += _line(line, number % COLOURS, across, upwards, write_x)
    return picture(WIDTH, HEIGHT, label, parts, shrinks=True)


def _axes(
    across: Scale, upwards: Scale, x_label: str, write_x: Callable[[float], str], whole: bool
) -> Iterator[Markup]:
    for value in upwards.ticks(4):
        y = upwards(value)
        yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        yield tag("text", compact(value), x=LEFT - 6, y=y + 4, text_anchor="end")
    ticks = [tick for tick in across.ticks(6) if not whole or tick == int(tick)]
    for value in ticks:
        yield _tick(write_x(value), across(value), HEIGHT - 20, WIDTH)
    yield tag("text", x_label, x=(LEFT + WIDTH) / 2, y=HEIGHT - 4, text_anchor="middle")


def _tick(text: str, x: float, y: float, width: float) -> Markup:
    """A value below its place on an axis, or as near as the edge of the picture lets it be."""
    half = wide(text) / 2
    inside = min(max(x, half), width - half)
    return tag("text", text, x=inside, y=y, text_anchor="middle")


def _line(
    line: Line, colour: int, across: Scale, upwards: Scale, write_x: Callable[[float], str]
) -> Iterator[Markup]:
    step = max(1, -(-len(line.points) // MOST_POINTS))
    # Counted from the end: the newest point is always there.
    chosen = [*line.points][::-1][::step][::-1]
    known = [(x, y) for x, y in chosen if y is not None]
    places = [(across(x), upwards(y)) for x, y in known]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield tag("polyline", points=path, class_=f"line c{colour}")
    for (x, y), (across_, up) in zip(known, places, strict=True):
        said = title(f"{line.name}: {y:.3g} at {write_x(x)}")
        yield tag("circle", said, cx=across_, cy=up, r=2.5, class_=f"dot c{colour}")


class Span(NamedTuple):
    """A value with its interval."""

    name: str
    value: float
    low: float
    high: float


def span_chart(label: str, spans: Sequence[Span]) -> Markup:
    """Values with their intervals, one below the other, and a line at zero."""
    ends = [end for span in spans for end in (span.low, span.high, 0.0)]
    names = _names(span.name for span in spans)
    width = names + WIDTH - 110
    across = Scale.around(ends, names, width - RIGHT, least=0.1)
    height = 22 * len(spans) + 22
    parts = [
        tag("line", x1=across(0), x2=across(0), y1=0, y2=height - 20, class_="grid"),
        *(
            _tick(f"{tick:+.2g}" if tick else "0", across(tick), height - 4, width)
            for tick in across.ticks(5)
        ),
    ]
    for place, span in enumerate(spans):
        y = 22 * place + 11
        said = f"{span.name}: {span.value:+.2f}, 95 % from {span.low:+.2f} to {span.high:+.2f}"
        parts += [
            tag("text", clipped(span.name, LONGEST_NAME), x=names - 10, y=y + 4, text_anchor="end"),
            tag("line", x1=across(span.low), x2=across(span.high), y1=y, y2=y, class_="line c0"),
            tag("circle", title(said), cx=across(span.value), cy=y, r=4, class_="dot c0"),
        ]
    return picture(width, height, label, parts, shrinks=True)


def _names(names: Iterable[str]) -> float:
    """Pixels that names take before what belongs to them."""
    return max((wide(clipped(name, LONGEST_NAME)) for name in names), default=0.0) + 12


class Bar(NamedTuple):
    """One bar: its name, its length, and what stands behind it."""

    name: str
    value: float
    said: str
    mark: str = ""


def bar_chart(
    label: str, bars: Sequence[Bar], room: int = 210, longest: float | None = None
) -> Markup:
    """Horizontal bars, each with its name before it and its value behind it.

    Args:
        label: of the picture.
        bars: from top to bottom.
        room: pixels of the longest one.
        longest: the value of a bar of that length; None for the largest there is.
    """
    longest = longest or max([1e-9, *(bar.value for bar in bars)])
    names = _names(bar.name for bar in bars)
    width = max(
        [WIDTH, *(names + room * bar.value / longest + 12 + wide(bar.said) for bar in bars)]
    )
    parts = []
    for place, bar in enumerate(bars):
        y = 22 * place
        length = room * bar.value / longest
        parts += [
            tag("text", clipped(bar.name, LONGEST_NAME), x=names - 8, y=y + 15, text_anchor="end"),
            tag(
                "rect",
                title(f"{bar.name}: {bar.said}"),
                x=names,
                y=y + 4,
                width=max(length, 1.0),
                height=14,
                class_=f"bar {bar.mark or 'c0'}",
            ),
            tag("text", bar.said, x=names + max(length, 1.0) + 6, y=y + 15),
        ]
    return picture(width, max(22 * len(bars), 22), label, parts, shrinks=True)
