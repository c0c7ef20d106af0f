"""How answers of each kind are read, so that equal answers compare equal and others do not.

The functions stand by themselves: their source is copied into the families that use them. Each
returns None for a text that is no answer of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agents.offline.entries import AnswerKind


def read_text(text: str) -> str | None:
    """Case, blanks and a full stop do not matter."""
    return " ".join(text.casefold().split()).strip(" .\"'`") or None


def read_words(text: str) -> list[str] | None:
    """Items between commas; their case matters."""
    items = [item.strip(" .\"'`") for item in text.strip("[] \n").replace("\n", ",").split(",")]
    return items if all(items) else None


def read_number(text: str) -> float | None:
    """One number in digits, thousands with or without commas."""
    found = re.fullmatch(r"([-+]?\d{1,3}(?:,\d{3})+|[-+]?\d+)(\.\d+)?\.?", text.strip())
    return float(found[1].replace(",", "") + (found[2] or "")) if found else None


def read_numbers(text: str) -> list[float] | None:
    """A list of numbers, with or without brackets and quotes."""
    if re.search(r"[^\d\s,.'\"\[\]+-]", text):
        return None
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def read_fraction(text: str) -> tuple[int, int] | None:
    """A fraction as it stands; 2/4 is not 1/2."""
    found = re.fullmatch(r"(-?\d+)(?:\s*/\s*(\d+))?\.?", text.strip())
    return (int(found[1]), int(found[2] or 1)) if found else None


def read_factors(text: str) -> list[int] | None:
    """Factors in any order."""
    factors = [factor.strip(" .") for factor in re.split("[\u00d7*x]", text)]
    return sorted(map(int, factors)) if all(map(str.isdecimal, factors)) else None


def read_statements(text: str) -> dict[str, str] | None:
    """Who is what, in any order."""
    return dict(re.findall(r"(\w+) is an? (\w+)", text.casefold())) or None


def read_palindrome(text: str) -> list[str] | None:
    """The letters of a palindrome; any palindrome of the same letters is right."""
    letters = text.strip().casefold()
    return sorted(letters) if letters and letters == letters[::-1] else None


READERS: dict[AnswerKind, Callable[[str], object | None]] = {
    "text": read_text,
    "words": read_words,
    "number": read_number,
    "numbers": read_numbers,
    "fraction": read_fraction,
    "factors": read_factors,
    "statements": read_statements,
    "palindrome": read_palindrome,
}


def same_answer(kind: AnswerKind, one: str, other: str) -> bool:
    """Whether two texts give the same answer."""
    read = READERS[kind]
    value = read(one)
    return value is not None and value == read(other)
