"""How answers of each kind are read, and which wrong ones someone could well give.

The functions stand by themselves: their source is copied into the families that use them. Equal
answers are read as equal values and others are not; a text that is no answer of its kind is read as
None. Wrong answers are right in form and near the truth; a program leaves out those that read as
the right one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

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
    if not text.strip() or re.search(r"[^\d\s,.'\"\[\]+-]", text):
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
    return dict(re.findall(r"(\w+) is an? (\w+)(?![\w/])", text.casefold())) or None


def read_palindrome(text: str) -> list[str] | None:
    """The letters of a palindrome; any palindrome of the same letters is right."""
    letters = text.strip().casefold()
    return sorted(letters) if letters and letters == letters[::-1] else None


def near_text(question: str, answer: str) -> Iterator[str]:
    """Another word of the same kind; two words, one digit or two letters that change."""
    pools = (
        "Yes No",
        "True False",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "mother father sister brother daughter son aunt uncle wife",
        "red green blue yellow white pink orange purple silver cyan",
    )
    for pool in map(str.split, pools):
        if answer in pool:
            place = pool.index(answer)
            yield from [*pool[place + 1 :], *pool[:place]]
    words = answer.split()
    if len(words) > 2:
        yield " ".join([*words[:-2], words[-1], words[-2]])
    for place, sign in reversed(list(enumerate(answer))):
        if sign in "0123456789":
            yield answer[:place] + str((int(sign) + 1) % 10) + answer[place + 1 :]
    for place in range(len(answer) - 1, 0, -1):
        yield answer[: place - 1] + answer[place] + answer[place - 1] + answer[place + 1 :]
    yield answer[:-1]
    yield answer + answer[-1]


def near_words(question: str, answer: str) -> Iterator[str]:
    """The list backward, its end exchanged or left out."""
    items = answer.split(", ")
    yield ", ".join(reversed(items))
    yield ", ".join([*items[:-2], *reversed(items[-2:])])
    yield ", ".join(items[:-1])
    yield ", ".join([*items, items[0]])


def near_number(question: str, answer: str) -> Iterator[str]:
    """A little more or less, in the last place or the one before."""
    places = len(answer.partition(".")[2])
    for change in (1, -1, 10, -10):
        yield f"{float(answer) + change * 10**-places:.{places}f}"


def near_numbers(question: str, answer: str) -> Iterator[str]:
    """What was left out, one number too few or too many, or the other way round."""
    items = re.findall(r"-?\d+(?:\.\d+)?", answer)
    offered = re.findall(r"'(-?\d+(?:\.\d+)?)'", question)
    left_out = [item for item in offered if item not in items]
    for choice in (left_out, items[:-1], [*items, *left_out[:1]], list(reversed(items))):
        yield "[" + ", ".join(f"'{item}'" for item in choice) + "]"


def near_fraction(question: str, answer: str) -> Iterator[str]:
    """Not reduced, upside down, or one part wrong."""
    numerator, _, denominator = answer.partition("/")
    one, other = int(numerator), int(denominator or 1)
    yield f"{2 * one}/{2 * other}"
    yield f"{other}/{one}"
    yield f"{one}/{other + 1}"
    yield f"{one + 1}/{other}"


def near_factors(question: str, answer: str) -> Iterator[str]:
    """One factor too many, too few, or wrong."""
    factors = answer.split(" \u00d7 ")
    yield " \u00d7 ".join(["2", *factors])
    yield " \u00d7 ".join(factors[1:])
    yield " \u00d7 ".join([*factors[:-1], str(int(factors[-1]) + 2)])


def near_statements(question: str, answer: str) -> Iterator[str]:
    """One person taken for the opposite."""
    roles = re.search(r"\w+ is an? (\w+)/(\w+)", question)
    assert roles is not None
    opposite = {roles[1]: roles[2], roles[2]: roles[1]}
    said = re.findall(r"(\w+) is an? (\w+)", answer)
    for liar, _ in said:
        yield ", and ".join(
            f"{name} is a {opposite[role] if name == liar else role}" for name, role in said
        )


def near_palindrome(question: str, answer: str) -> Iterator[str]:
    """The letters out of order, or not all of them, or twice."""
    yield "".join(sorted(answer))
    yield answer[:-1]
    yield answer + answer
    yield answer[::2] + answer[1::2]


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
NEAR: dict[AnswerKind, Callable[[str, str], Iterator[str]]] = {
    "text": near_text,
    "words": near_words,
    "number": near_number,
    "numbers": near_numbers,
    "fraction": near_fraction,
    "factors": near_factors,
    "statements": near_statements,
    "palindrome": near_palindrome,
}


def same_answer(kind: AnswerKind, one: str, other: str) -> bool:
    """Whether two texts give the same answer."""
    read = READERS[kind]
    value = read(one)
    return value is not None and value == read(other)
