"""What experts do in place of solving a question, found from their wrong answers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.trial.claims import FEWEST_CHOICES, choices
from memory.records import Exchange, Habit

FEWEST = 6
"""Fewer answers than this tell nothing."""
LEAST = 0.1
"""A habit of fewer answers is none."""
OFTEN = 3
"""So often an expert gives its usual answer."""
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SAMPLE = re.compile(
    r"(?:\bas in|\bfor example|\bfor instance|\be\.g\.|\bsuch as|\bexample)[:,]?\s+"
    r"[\"'\u201c\u2018(]?([^\s\"'\u201d\u2019,;)]+)",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|never|except)\b|n't\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Answer:
    expert: str
    question: str
    text: str
    passed: bool

    @property
    def plain(self) -> str:
        """Without case and the signs around it."""
        return plain(self.text)


def habits_of(exchanges: Sequence[Exchange]) -> tuple[Habit, ...]:
    """The habits that the replies show; what too few answers say something about is left out."""
    answers = [
        _Answer(said.expert, exchange.question, said.answer, said.passed)
        for exchange in exchanges
        for said in exchange.replies
    ]
    wrong = [answer for answer in answers if not answer.passed]
    found = (
        _echo(wrong, "the last number of the question", _last_number),
        _echo(wrong, "the sample that the question gives for the form of answers", _sample),
        _constant(wrong),
        _place(answers),
        _negation(answers),
    )
    return tuple(habit for habit in found if habit is not None)


def plain(text: str) -> str:
    """A text without case and the signs around it."""
    return text.strip(" \n.,;:!?\"'()").casefold()


def _echo(wrong: Sequence[_Answer], named: str, of_question: Callable[[str], str]) -> Habit | None:
    """Wrong answers that repeat a piece of the question, among those to questions that have it."""
    pieces = [(answer.plain, plain(of_question(answer.question))) for answer in wrong]
    return _habit(f"wrong answers are {named}", [said == has for said, has in pieces if has])


def _last_number(question: str) -> str:
    return str((_NUMBER.findall(question) or [""])[-1])


def _sample(question: str) -> str:
    return str((_SAMPLE.findall(question) or [""])[0])


def _constant(wrong: Sequence[_Answer]) -> Habit | None:
    """Wrong answers that the same expert gives to several questions."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in wrong:
        said[answer.expert][answer.plain] += 1
    usual = {expert: texts.most_common(1)[0] for expert, texts in said.items()}
    often = {expert: text for expert, (text, count) in usual.items() if count >= OFTEN}
    what = "wrong answers are the one which that expert gives most often"
    if often:
        what += f" ({', '.join(f'{expert}: {text[:20]!r}' for expert, text in often.items())})"
    return _habit(what, [often.get(answer.expert) == answer.plain for answer in wrong])


def _place(answers: Sequence[_Answer]) -> Habit | None:
    """Answers to listed choices that stand where most of that expert's answers stand."""
    places: dict[str, list[int]] = defaultdict(list)
    for answer in answers:
        listed = choices(answer.question)
        chosen = [n for n, choice in enumerate(listed, start=1) if answer.plain in choice]
        if len(listed) >= FEWEST_CHOICES and len(chosen) == 1:
            places[answer.expert] += chosen
    usual = {expert: Counter(taken).most_common(1)[0][0] for expert, taken in places.items()}
    named = ", ".join(f"{expert}: number {place}" for expert, place in usual.items())
    return _habit(
        f"answers to listed choices take the place which that expert prefers ({named})",
        [place == usual[expert] for expert, taken in places.items() for place in taken],
    )


def _negation(answers: Sequence[_Answer]) -> Habit | None:
    """Right answers where a "not" has to be heeded, beside those elsewhere."""
    negated = [a.passed for a in answers if _NEGATION.search(a.question)]
    others = [a.passed for a in answers if not _NEGATION.search(a.question)]
    if len(negated) < FEWEST or len(others) < FEWEST:
        return None
    elsewhere = sum(others) / len(others)
    what = f'answers to questions with a "not" are right, and of all others {elsewhere:.0%}'
    return Habit(what=what, share=sum(negated) / len(negated), of=len(negated))


def _habit(what: str, shown: Sequence[bool]) -> Habit | None:
    if len(shown) < FEWEST or sum(shown) < LEAST * len(shown):
        return None
    return Habit(what=what, share=sum(shown) / len(shown), of=len(shown))
