"""A cache of answers that several runs share: what one run made, the others need not make again."""

from __future__ import annotations

from collections.abc import Sequence

from memory.records import Answer, Grade
from memory.store.answers import AnswerTables


class SharedBook:
    """The answers and grades of one run, with a shared cache behind them.

    Keys cover everything that can change an answer, so an answer of another run under the same key
    is the answer that this run would get. What is found in the cache is copied into the
    run, which stays complete without it. The cache is written first, so it has all that a run has.

    Args:
        own: the run's store.
        cache: the store that is shared.
    """

    def __init__(self, own: AnswerTables, cache: AnswerTables) -> None:
        self._own = own
        self._cache = cache

    def answers(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers among these keys that are recorded here or in the cache."""
        found = self._own.answers(keys)
        others = self._cache.answers([key for key in keys if key not in found])
        self._own.put_answers(list(others.values()))
        return found | others

    def put_answers(self, answers: Sequence[Answer]) -> None:
        """Record answers in both."""
        self._cache.put_answers(answers)
        self._own.put_answers(answers)

    def grades(self, keys: Sequence[str]) -> dict[str, Grade]:
        """The grades among these keys that are recorded here or in the cache.

        Their answers must have been asked for before.
        """
        found = self._own.grades(keys)
        others = self._cache.grades([key for key in keys if key not in found])
        self._own.put_grades(list(others.values()))
        return found | others

    def put_grades(self, grades: Sequence[Grade]) -> None:
        """Record grades in both."""
        self._cache.put_grades(grades)
        self._own.put_grades(grades)
