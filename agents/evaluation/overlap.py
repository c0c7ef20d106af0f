"""Overlap in words: which n-grams of a question stand in another text?

As in GPT-3 (Brown et al., 2020, appendix C) a text counts as contaminated if it shares one n-gram
of words with a benchmark, n = 13, lower case, without punctuation; a question of fewer words is
compared by one n-gram of its own length, but not below 8, where phrases are common property. The
share of a question's n-grams that are found says how far it goes (PaLM, Chowdhery et al., 2022,
section 8, calls 70 % of 8-grams contaminated).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

NGRAM = 13
SHORTEST = 8

_WORD = re.compile(r"\w+")

Ngram = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return _WORD.findall(text.casefold())


def ngrams(words: Sequence[str], n: int) -> set[Ngram]:
    """All different runs of n words."""
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


class OverlapIndex:
    """The n-grams of many questions, to look texts up in.

    Args:
        questions: texts of a benchmark.
        n: words of an n-gram; shorter questions are compared whole.
        shortest: questions of fewer words are left out.

    Attributes:
        too_short: how many questions were left out.
    """

    def __init__(self, questions: Sequence[str], n: int = NGRAM, shortest: int = SHORTEST) -> None:
        self._holders: dict[int, dict[Ngram, list[int]]] = defaultdict(dict)
        self._sizes: list[int] = []
        self.too_short = 0
        for place, question in enumerate(questions):
            words = words_of(question)
            if len(words) < min(shortest, n):
                self.too_short += 1
                self._sizes.append(0)
                continue
            length = min(n, len(words))
            grams = ngrams(words, length)
            self._sizes.append(len(grams))
            for gram in grams:
                self._holders[length].setdefault(gram, []).append(place)

    def overlaps(self, text: str) -> dict[int, float]:
        """Place of a question -> share of its n-grams in the text, where there are any."""
        words = words_of(text)
        found: Counter[int] = Counter()
        for length, holders in self._holders.items():
            for gram in ngrams(words, length):
                found.update(holders.get(gram, ()))
        return {place: count / self._sizes[place] for place, count in sorted(found.items())}
