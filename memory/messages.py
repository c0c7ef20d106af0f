"""Parts of messages: the nearest known name, the first thing that a library reports, counts."""

from __future__ import annotations

import difflib
import errno
import re
import unicodedata
from collections.abc import Callable, Iterable

from pydantic import ValidationError

_HIDDEN = frozenset({"Cc", "Cf", "Cs"})
"""Categories of what a terminal obeys, of what is not seen, and of halves of characters."""
_LINE_END = re.compile("[\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029]")
"""What `str.splitlines` takes for the end of a line."""
_SEEN = frozenset(
    "\t\n\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
"""What stays of them: tab, line end, and the signs of Arabic, Syriac and Kaithi around numbers."""
_JOINERS = "\u200c\u200d"
_VIRAMA = 9
"""Combining class of the marks that join the consonants of Indic scripts."""

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


def count_of(count: int, what: str) -> str:
    """As in `1 task` and `2 tasks`, `1 family` and `2 families`."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else several}"


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


def line_ends_spelled(text: str) -> str:
    r"""A text without line ends: each is spelled, as in `\n`."""
    return _LINE_END.sub(lambda found: ascii(found[0])[1:-1], text)


def printable(text: str) -> str:
    r"""A text that no terminal obeys: `\x1b` stands for ESC; line ends and tabs stay."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1]
        for letter in text
    )


def visible(text: str) -> str:
    r"""A text of which all is seen and a terminal obeys nothing: `\u202e` reverses no line.

    Control and format characters (categories Cc and Cf) are spelled. Joiners stay where they shape
    what is read, as in RFC 5892, A.1: beside a virama, between Arabic letters, and within emoji.
    """
    return _spelled(text, lambda letter: ascii(letter)[1:-1])


def escaped_in_json(text: str) -> str:
    r"""JSON with the same value, in which the same characters are escaped, as in `\u009b`."""
    return _spelled(text, _as_utf_16)


def _spelled(text: str, spell: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    hidden = [
        letter
        for letter in {*text} - _SEEN
        if not letter.isprintable() and unicodedata.category(letter) in _HIDDEN
    ]
    if not hidden:
        return text

    def spelled(found: re.Match[str]) -> str:
        return found[0] if _shapes(text, found.start()) else spell(found[0])

    return re.sub(f"[{re.escape(''.join(hidden))}]", spelled, text)


def _shapes(text: str, place: int) -> bool:
    """Whether a joiner stands at a place where it shapes what is read."""
    if text[place] not in _JOINERS or place == 0:
        return False
    before, after = text[place - 1], text[place + 1 : place + 2]
    if not after:
        return unicodedata.combining(before) == _VIRAMA
    if _VIRAMA in (unicodedata.combining(before), unicodedata.combining(after)):
        return True
    kind, next_kind = unicodedata.category(before), unicodedata.category(after)
    if text[place] == "\u200d" and next_kind == "So":
        return kind in ("So", "Sk") or before == "\ufe0f"
    arabic = unicodedata.bidirectional(before) in ("AL", "NSM") and kind[0] in "LM"
    return arabic and unicodedata.bidirectional(after) == "AL" and next_kind[0] == "L"


def _as_utf_16(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def first_line(error: BaseException) -> str:
    """The first line of a library's error, with the next where it ends with a colon.

    It is its type where it says nothing.

    Where transformers advises to let a checkpoint run code, it says that this is not done.
    """
    if "trust_remote_code" in str(error):
        return "it needs code of its own (auto_map), which is never run"
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
