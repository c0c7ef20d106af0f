"""How stories are printed: marks, lines that wrap at words, a pager where they are long."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from memory.messages import visible

MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}
"""Of what is right, accepted or passed; of what is not; and of what is not known."""


def mark(verdict: bool | None) -> Text:
    """The sign of a verdict."""
    return Text(*MARKS[verdict])


def say(console: Console, *parts: str | Text, indent: int = 0, style: str = "") -> None:
    """A line, wrapped at words where somebody reads it, and whole where a program does."""
    # A text drops some control characters without a trace; they are to be seen.
    spelled = (visible(part) if isinstance(part, str) else part for part in parts)
    line = Text.assemble(*spelled, style=style)
    if console.is_terminal:
        console.print(Padding(line, (0, 0, 0, indent)) if indent else line, highlight=False)
    else:
        console.print(Text(" " * indent) + line, soft_wrap=True, highlight=False)


def fraction(counts: list[int]) -> str:
    """Passes of what was asked, as in `3 of 4`."""
    return f"{counts[0]} of {counts[1]}"


def one_line(text: str, most: int = 240) -> str:
    """A text in one line, cut at a word if it is long."""
    flat = " ".join(text.split())
    if len(flat) <= most:
        return flat
    return flat[:most].rsplit(" ", 1)[0] + " …"


def numbered(entries: list[Any], total: int, offset: int, what: str) -> str | None:
    """What to say where not all of a list is shown."""
    if len(entries) == total:
        return None
    if not entries:
        return f"no {what} from number {offset + 1} on: there are {total}"
    end = offset + len(entries)
    more = f"; more: --offset {end}, or --limit" if end < total else ""
    return f"{what} {offset + 1} to {end} of {total}{more}"


@contextmanager
def paged(console: Console) -> Iterator[None]:
    """Show what is printed inside in a pager, if a person reads it and it is longer than a screen.

    Only by `less`, which knows how to show colours and to leave at once where there is one screen.
    """
    if not console.is_terminal or os.environ.get("PAGER") or not shutil.which("less"):
        yield
        return
    os.environ.setdefault("LESS", "-FRX")
    with console.pager(styles=True):
        yield
