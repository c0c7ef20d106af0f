"""SVG elements as escaped text, and scales with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from memory.messages import visible

CHARACTER = 6.9
"""Pixels of a character of a label, of 11 pixels, in the widest of the usual fonts."""
COLOURS = 8
"""Classes `c0` .. `c7` of the style sheet tell series apart; what is left over has `cx`."""


def tag(name: str, *inside: str, **attributes: object) -> Markup:
    """An element; all that is no Markup is escaped, and no control character gets through.

    Underscores in the names of attributes stand for hyphens, and a trailing one for nothing.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = "".join(each if isinstance(each, Markup) else escape(visible(each)) for each in inside)
    return Markup(f"<{name}{said}>{body}</{name}>" if inside else f"<{name}{said}/>")


def title(text: str) -> Markup:
    """What a pointer that rests on the element around it shows, and a screen reader reads."""
    return tag("title", text)


def picture(
    width: float,
    height: float,
    label: str,
    parts: Iterable[str],
    *,
    shrinks: bool = False,
    links: bool = False,
) -> Markup:
    """A whole picture with a name.

    Args:
        width: in pixels.
        height: in pixels.
        label: what it shows, for those who do not see it.
        parts: elements.
        shrinks: whether it becomes smaller on a narrow page; else the page scrolls over it.
        links: whether there are links in it, which an image could not have.
    """
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        width=_short(width),
        height=_short(height),
        role="group" if links else "img",
        class_="shrinks" if shrinks else None,
        aria_label=label,
        xmlns="http://www.w3.org/2000/svg",
    )


def link(to: str, *inside: str, **attributes: object) -> Markup:
    """Elements that lead somewhere, or plain ones where there is nowhere to go."""
    return tag("a", *inside, href=to, **attributes) if to else tag("g", *inside)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return visible(str(value))


def clipped(text: str, most: int) -> str:
    """A label that fits; its middle is left out if it does not, since names differ at the end."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def wide(text: str) -> float:
    """At least as many pixels as a label takes in the fonts that browsers have."""
    return CHARACTER * len(text)


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis.

    Attributes:
        low, high: values at its ends.
        start, end: places of these, in pixels; an upright axis starts below.
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, least: float = 0.0) -> Scale:
        """A scale on which all values lie; it is at least so wide."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        if high - low < max(least, 1e-12):
            high = low + (least or 1.0)
        return cls(low, high, start, end)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values on the axis: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / max(about, 1)
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def compact(value: float) -> str:
    """A number on an axis: 1.5k, 20M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
