"""Wrong answers that someone could well give: right in form, and near the truth."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from random import Random

from agents.offline.answer_kinds import read_fraction, read_number, same_answer
from agents.offline.entries import AnswerKind

WANTED = 3
_POOLS = (
    ("Yes", "No"),
    ("True", "False"),
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ("mother", "father", "sister", "brother", "daughter", "son", "aunt", "uncle", "wife"),
    ("red", "green", "blue", "yellow", "white", "pink", "orange", "purple", "silver", "cyan"),
)
"""Answers that are mistaken for one another."""
_ROLES = re.compile(r"\w+ is an? (?P<one>\w+)/(?P<other>\w+)")


def near_misses(question: str, answer: str, kind: AnswerKind, seed: int) -> list[str]:
    """Up to three wrong answers, all different, none of which reads as the right one."""
    rng = Random(seed)
    candidates = _CANDIDATES[kind](question, answer, rng)
    wrong = (text for text in candidates if text.strip() and not same_answer(kind, text, answer))
    return list(itertools.islice(dict.fromkeys(wrong), WANTED))


def _texts(question: str, answer: str, rng: Random) -> Iterator[str]:
    for pool in _POOLS:
        if answer.casefold() in map(str.casefold, pool):
            yield from rng.sample(pool, k=len(pool))
    if read_number(answer) is not None:
        yield from _numbers_near(question, answer, rng)
    words = answer.split()
    if len(words) > 2:
        yield " ".join([*words[:-2], words[-1], words[-2]])
    digits = [place for place, sign in enumerate(answer) if sign.isdecimal()]
    for place in reversed(digits):
        yield answer[:place] + str((int(answer[place]) + 1) % 10) + answer[place + 1 :]
    for place in range(len(answer) - 1, 0, -1):
        yield answer[: place - 1] + answer[place] + answer[place - 1] + answer[place + 1 :]
    yield answer[:-1]
    yield answer + answer[-1]


def _numbers_near(question: str, answer: str, rng: Random) -> Iterator[str]:
    value = float(answer)
    places = len(answer.partition(".")[2])
    step = 10**-places
    for change in rng.sample((1, -1, 2, -2, 10, -10), k=6):
        yield f"{value + change * step:.{places}f}"


def _lists(question: str, answer: str, rng: Random) -> Iterator[str]:
    items = answer.split(", ")
    yield ", ".join(reversed(items))
    yield ", ".join([*items[:-2], *reversed(items[-2:])])
    yield ", ".join(items[:-1])
    yield ", ".join([*items, items[0]])


def _number_lists(question: str, answer: str, rng: Random) -> Iterator[str]:
    items = re.findall(r"-?\d+(?:\.\d+)?", answer)
    offered = re.findall(r"'(-?\d+(?:\.\d+)?)'", question)
    left_out = [item for item in offered if item not in items]
    for choice in (left_out, items[:-1], [*items, *left_out[:1]], list(reversed(items))):
        yield "[" + ", ".join(f"'{item}'" for item in choice) + "]"


def _fractions(question: str, answer: str, rng: Random) -> Iterator[str]:
    numerator, denominator = read_fraction(answer) or (1, 1)
    yield f"{2 * numerator}/{2 * denominator}"
    yield f"{denominator}/{numerator}"
    yield f"{numerator}/{denominator + 1}"
    yield f"{numerator + 1}/{denominator}"


def _factors(question: str, answer: str, rng: Random) -> Iterator[str]:
    factors = answer.split(" \u00d7 ")
    yield " \u00d7 ".join(["2", *factors])
    yield " \u00d7 ".join(factors[1:])
    yield " \u00d7 ".join([*factors[:-1], str(int(factors[-1]) + 2)])


def _statements(question: str, answer: str, rng: Random) -> Iterator[str]:
    roles = _ROLES.search(question)
    assert roles is not None
    opposite = {roles["one"]: roles["other"], roles["other"]: roles["one"]}
    said = re.findall(r"(\w+) is an? (\w+)", answer)
    for liar in rng.sample(range(len(said)), k=len(said)):
        changed = [
            (name, opposite[role] if place == liar else role)
            for place, (name, role) in enumerate(said)
        ]
        yield ", and ".join(f"{name} is a {role}" for name, role in changed)


def _palindromes(question: str, answer: str, rng: Random) -> Iterator[str]:
    yield "".join(sorted(answer))
    yield answer[:-1]
    yield answer + answer
    yield answer[::2] + answer[1::2]


_CANDIDATES = {
    "text": _texts,
    "words": _lists,
    "number": _numbers_near,
    "numbers": _number_lists,
    "fraction": _fractions,
    "factors": _factors,
    "statements": _statements,
    "palindrome": _palindromes,
}
