"""Parts of error messages: the nearest known name, and the first thing that a library reports."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

from pydantic import ValidationError

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line end, DEL, C1
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates
    "\ud800-\udfff]"  # halves of characters, which cannot be written
)

FREE_SPACE = "free some space and run the same command again"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like a name, None if none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """What to put behind an unknown name: ` (did you mean X?)`, or nothing if none is like it."""
    near = nearest(name, known, cutoff)
    return "" if near is None else f" (did you mean {near}?)"


def first_problem(error: ValidationError, *, quote: bool = False) -> str:
    """The first problem of a validation in one line: `where: what`.

    Args:
        error: of pydantic.
        quote: show the value too, unless it is a whole table or a URL, which may hold a key.
    """
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    if quote and "url" not in where and isinstance(first["input"], str | int | float | bool):
        where += f" = {first['input']!r}"
    return f"{where}: {what}" if where else what


def not_written(place: object, error: Exception) -> str:
    """That something cannot be written, and what helps where the disk is full.

    Args:
        place: what, as a path or in words.
        error: an OSError, or what a library says of one.
    """
    reason = getattr(error, "strerror", None) or first_line(error)
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    # Libraries in Rust put the number of the error into their text.
    if full or f"os error {errno.ENOSPC}" in reason:
        return f"{place} cannot be written, the disk is full: {FREE_SPACE}"
    return f"{place} cannot be written: {reason}"


def printable(text: str) -> str:
    r"""A text that no terminal obeys: `\x1b` stands for ESC; line ends and tabs stay."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1]
        for letter in text
    )


def visible(text: str) -> str:
    r"""A text of which a terminal obeys nothing: control characters, and what reverses a line.

    What `printable` spells besides, as spaces of other widths and the joiners within emoji, stays.
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def escaped_in_json(text: str) -> str:
    r"""JSON with the same value, in which the same characters are escaped, as in `\u009b`."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def first_line(error: BaseException) -> str:
    """The first line of a library's error, with the next where it ends with a colon.

    It is its type where it says nothing.

    Where transformers advises to let a checkpoint run code, it says that this is not done.
    """
    if "trust_remote_code" in str(error):
        return "it needs code of its own (auto_map), which is never run"
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
