"""Scores that are not to be computed again: most experts give the same answers."""

from __future__ import annotations

from agents.sandbox.base import HELPERS, Submission


class KnownScores:
    """Scores of submissions by code that is deterministic: most experts give the same answers."""

    def __init__(self, most: int = 1 << 16) -> None:
        """`most` is how many are kept at a time."""
        self._most = most
        self._scores: dict[tuple[str, Submission], float] = {}

    def of(self, code_hash: str, submission: Submission) -> float | None:
        """The score of a submission to a family, if it is known."""
        return self._scores.get((code_hash, submission))

    def add(self, code: str, code_hash: str, submission: Submission, value: float) -> None:
        """Keep a score, unless a model or a program's running time had a part in it."""
        if HELPERS in code:
            return
        if len(self._scores) >= self._most:
            self._scores.clear()
        self._scores[code_hash, submission] = value
