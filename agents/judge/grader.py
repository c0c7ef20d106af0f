"""Grading: what code says of an answer, and for rated families what the rater votes.

Grades are durable and keyed by (answer, content of what grades, vote index): found again, never
made twice. A rated answer passes if its family's code lets it through and more than half of the
rater's votes pass it; without any vote it stays missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.concurrency import all_of
from agents.errors import ContextLengthError, EndpointError, SandboxError, SandboxUnavailable
from agents.families.items import Item
from agents.judge.rater import Rater
from agents.judge.votes import agreement, majority
from agents.sandbox import Fault, Score, Submission
from agents.sandbox.base import HELPERS
from agents.sandbox.known_scores import KnownScores
from memory.hashing import json_hash
from memory.records import Answer, Grade
from memory.spans import span

CODE_VOTE = 0
"""Code is deterministic: it votes once."""


class Scorer(Protocol):
    """A sandbox that scores each submission in a process of its own."""

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions to one family."""
        ...


class Together(Scorer, Protocol):
    """The part of the sandbox that grading needs: it scores many in one process too."""

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """Score submissions to one family; None if one of them fails."""
        ...


class VoteBook(Protocol):
    """The part of the run store that grading needs."""

    def grades(self, keys: Sequence[str]) -> dict[str, Grade]:
        """The grades among these keys that are recorded."""
        ...

    def put_grades(self, grades: Sequence[Grade]) -> None:
        """Record grades."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer, or its grade, is missing."""

    error: str
    condemned: Fault | None = None


@dataclass(frozen=True, slots=True)
class GradingResult:
    """What came of grading one answer: `passed`, or the failure that left it missing."""

    passed: bool | None = None
    agreement: float | None = None
    failure: Failure | None = None


Answered = tuple[Item, Answer]


class Grader:
    """Grades answers in the sandbox, and by the rater where a family is rated.

    Args:
        store: where grades are kept.
        sandbox: where families score.
        rater: None where no model can rate.
        known: scores that are not to be computed again; shared by graders of one run.
    """

    def __init__(
        self,
        store: VoteBook,
        sandbox: Together,
        rater: Rater | None = None,
        known: KnownScores | None = None,
    ) -> None:
        self._store = store
        self._sandbox = sandbox
        self._rater = rater
        self._known = KnownScores() if known is None else known

    async def grade(self, answered: Sequence[Answered]) -> dict[str, GradingResult]:
        """Verdicts by answer key.

        Raises:
            BudgetExhausted: the rater may not call any more.
        """
        found = self._store.grades([_code_key(item, answer) for item, answer in answered])
        verdicts: dict[str, GradingResult] = {}
        families: dict[str, list[Answered]] = {}
        for item, answer in answered:
            grade = found.get(_code_key(item, answer))
            if grade is None:
                families.setdefault(item.code_hash, []).append((item, answer))
            else:
                verdicts[answer.key] = GradingResult(grade.passed)
        for scored in await all_of(self._score(group) for group in families.values()):
            verdicts.update(scored)
        let_through = [
            (item, answer)
            for item, answer in answered
            if item.rubric is not None and _lets_through(verdicts[answer.key])
        ]
        ratings = await all_of(self._rate(item, answer) for item, answer in let_through)
        for (_, answer), verdict in zip(let_through, ratings, strict=True):
            verdicts[answer.key] = verdict
        return verdicts

    async def _score(self, group: Sequence[Answered]) -> dict[str, GradingResult]:
        """Score answers to one family in one request; equal submissions are scored once."""
        submissions = {
            answer.key: Submission(item.instance, answer.extracted) for item, answer in group
        }
        family = group[0][0]
        values = {s: self._known.of(family.code_hash, s) for s in submissions.values()}
        unknown = [submission for submission, value in values.items() if value is None]
        scores: list[Score] = []
        if unknown:
            try:
                with span("grade", "score", code_hash=family.code_hash, submissions=len(unknown)):
                    scores = await self._scores(family.code, unknown)
            except SandboxUnavailable:
                # It would fail for every answer, and grades that are all missing help nobody.
                raise
            except (SandboxError, EndpointError, ContextLengthError) as error:
                return {
                    answer.key: GradingResult(failure=Failure(str(error))) for _, answer in group
                }
        condemned = next(filter(None, map(_condemnation, scores)), None)
        failure = None if condemned is None else Failure(str(condemned), condemned)
        for submission, score in zip(unknown, scores, strict=True):
            values[submission] = score.value
            if score.value in (0, 1):
                self._known.add(family.code, family.code_hash, submission, score.value)
        verdicts, grades = {}, []
        for item, answer in group:
            value = values[submissions[answer.key]]
            passed = value == 1 if value in (0, 1) else None
            verdicts[answer.key] = GradingResult(passed, failure=failure)
            if passed is not None:
                grades.append(_grade(_code_key(item, answer), answer, item.code_hash, passed))
        self._store.put_grades(grades)
        return verdicts

    async def _scores(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Scores, in a single process where that works: processes cost more than scoring.

        The gates have seen that a scorer gives the same scores either way.
        """
        if len(submissions) > 1 and HELPERS not in code:
            values = await self._sandbox.score_together(code, submissions)
            if values is not None:
                return [Score(value) for value in values]
        return await self._sandbox.score(code, submissions)

    async def _rate(self, item: Item, answer: Answer) -> GradingResult:
        """Collect the votes on record and those that are still to be cast."""
        assert item.rubric is not None
        if self._rater is None:
            return GradingResult(
                failure=Failure(
                    "no rater is configured: set endpoints.rater.base_url and model, and run again"
                )
            )
        scorer = self._rater.scorer_hash(item.rubric)
        keys = {n: json_hash([answer.key, scorer, n]) for n in range(self._rater.votes)}
        grades = self._store.grades(list(keys.values()))
        due = [number for number, key in keys.items() if key not in grades]
        error = ""
        if due:
            rating = await self._rater.rate(item, answer.extracted, due, again=True)
            error = rating.error
            cast = [
                _grade(
                    keys[vote.number],
                    answer,
                    scorer,
                    vote.passed,
                    vote=vote.number,
                    detail=vote.reason,
                    rater=vote.model,
                )
                for vote in rating.votes
            ]
            self._store.put_grades(cast)
            grades.update({grade.key: grade for grade in cast})
        votes = [grade.passed for grade in grades.values()]
        failure = None if votes else Failure(error)
        return GradingResult(majority(votes), agreement(votes), failure)


def _lets_through(verdict: GradingResult) -> bool:
    return verdict.passed is True and verdict.failure is None


def _code_key(item: Item, answer: Answer) -> str:
    return json_hash([answer.key, item.code_hash, CODE_VOTE])


def _grade(
    key: str,
    answer: Answer,
    scorer: str,
    passed: bool,
    *,
    vote: int = CODE_VOTE,
    detail: str = "",
    rater: str = "",
) -> Grade:
    return Grade(
        key=key,
        answer_key=answer.key,
        code_hash=scorer,
        vote=vote,
        passed=passed,
        detail=detail,
        rater=rater,
    )


def _condemnation(score: Score) -> Fault | None:
    """What a score says against its family."""
    if score.fault is not None:
        return score.fault
    if score.value not in (0, 1):
        return Fault("score_range", f"score gave {score.value}, not 0 or 1")
    return None
