"""Scores answers to held-out tasks: plain rules, reasoning-gym's scorers, or the rater."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from agents.chat.client import ChatClient, Place
from agents.chat.structured import Completion
from agents.errors import AnsweringError, SandboxError
from agents.judge.grader import Scorer
from agents.sandbox import Score, Submission
from agents.task_force.ballot import normalise
from memory.hashing import json_hash
from memory.records import Json

_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_DECISION = re.compile(
    r"^[^\w\n]*+decision[^\w:]*+:\W*+(right|wrong)\b", re.IGNORECASE | re.MULTILINE
)
"""The quantifiers are possessive, so that no reply can make the search quadratic."""
_GATHER_SECONDS = 0.02
_PROGRAM = """\
import json

import reasoning_gym

ENTRIES = json.loads({entries!r})
SCORE = reasoning_gym.get_score_answer_fn({dataset!r})


def frozen(value):
    # JSON knows no tuples, with which some scorers compare.
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return dict(zip(value, map(frozen, value.values())))
    return value


def right(t, answer):
    return any(SCORE(answer=answer, entry=entry) >= 1.0 for entry in (t, frozen(t)))


class TaskFamily:
    @staticmethod
    def get_tasks():
        return ENTRIES

    @staticmethod
    def get_instructions(t):
        return t["question"]

    @staticmethod
    def score(t, submission):
        try:
            return float(right(t, submission))
        except Exception:
            # A scorer that fails on an answer, and not on the task's own, finds it wrong.
            own = t.get("answer")
            if right(t, "" if own is None else str(own)) or own is None:
                return 0.0
            raise
"""


_PROGRAM_LINES = re.compile(
    re.escape(_PROGRAM.replace("{entries!r}", "ENTRIES!").replace("{dataset!r}", "DATASET!"))
    .replace(re.escape("ENTRIES!"), r"'(?:[^'\\\n]|\\.)*'")
    .replace(re.escape("DATASET!"), r"'([a-z0-9_]+)'")
)
EVALUATING = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
"""Datasets of reasoning-gym whose scorers give what was answered to `eval`."""


def borrows_scorer(program: str) -> bool:
    """Whether a program is one of this module's, over a scorer that executes no answer."""
    found = _PROGRAM_LINES.fullmatch(program)
    return found is not None and found[1] not in EVALUATING


def same_answer(one: str, other: str) -> bool:
    """Whether two texts are equal after normalisation; where that leaves nothing, as they stand."""
    plain = normalise(other)
    # Of "!" nothing is left, and an empty answer would be right.
    return normalise(one) == plain if plain else one.strip() == other.strip()


def same_number(one: str, other: str) -> bool:
    """Whether the last numbers of two texts are equal, to six digits."""
    values = [_last_number(one), _last_number(other)]
    if values[0] is None or values[1] is None:
        return False
    return math.isclose(values[0], values[1], rel_tol=1e-6, abs_tol=1e-9)


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def read_decision(text: str) -> float | None:
    """What a rater decided last: 1.0 for right, 0.0 for wrong; None if it decided nothing."""
    found = _DECISION.findall(text)
    return float(found[-1].lower() == "right") if found else None


@dataclass(eq=False)
class _Pending:
    """Answers to one entry that wait for the sandbox."""

    entry: dict[str, Any]
    submissions: Sequence[Submission]
    scores: asyncio.Future[list[Score]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


def gym_program(dataset: str, entries: Sequence[Mapping[str, Json]]) -> str:
    """The program that scores answers to entries of a dataset, which it calls "0", "1" and on."""
    numbered = {str(place): entry for place, entry in enumerate(entries)}
    return _PROGRAM.format(entries=json.dumps(numbered), dataset=dataset)


class TaskScorer:
    """Takes the place of the sandbox in an examiner: the `code` of an item is its scoring rule.

    Scorers of reasoning-gym run in the real sandbox, since some of them evaluate what a model
    wrote; requests that come together go there together. An answer on which such a scorer fails
    (it raises, takes too long or too much memory) is wrong if the scorer works: under the same
    limits it scores the task's own answer as right, or, where a task has none, an empty one at all.
    Otherwise nothing is known of the answer, and it stays ungraded.

    Args:
        sandbox: where they run.
        chat: asks the rater, None if there is none.
    """

    def __init__(self, sandbox: Scorer, chat: ChatClient | None) -> None:
        self._sandbox = sandbox
        self._chat = chat
        self._waiting: dict[str, list[_Pending]] = {}

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score answers to one task.

        Raises:
            SandboxError: the sandbox failed; nothing is known of the answers.
            AnsweringError: the task is to be rated, and there is no rater.
            ChatError: the rater cannot be reached.
        """
        rule = json.loads(code)
        texts = [submission.text for submission in submissions]
        if rule["score"] == "exact":
            return [Score(float(same_answer(text, rule["answer"]))) for text in texts]
        if rule["score"] == "number":
            return [Score(float(same_number(text, rule["answer"]))) for text in texts]
        if rule["score"] == "rated":
            return [await self._rated(rule, text) for text in texts]
        return await self._gym(rule["score"], submissions)

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """None: a task has one answer at a time, and tasks go to the sandbox together."""
        return None

    async def _rated(self, rule: dict[str, str], text: str) -> Score:
        if self._chat is None:
            raise AnsweringError(
                'a task has "score": "rated", which needs a language model: set '
                "endpoints.rater.base_url and model"
            )
        variables = {"question": rule["question"], "reference": rule["answer"], "answer": text}
        place = Place(f"mark-{json_hash(variables)}")
        completion: Completion = await self._chat.ask("mark", place, variables)
        # No verdict is no grade: the answer stays ungraded.
        return Score(read_decision(completion.text))

    async def _gym(self, rule: dict[str, Any], submissions: Sequence[Submission]) -> list[Score]:
        pending = _Pending(rule["entry"], submissions)
        waiting = self._waiting.setdefault(rule["reasoning_gym"], [])
        waiting.append(pending)
        if len(waiting) == 1:
            await asyncio.sleep(_GATHER_SECONDS)
            batch = self._waiting.pop(rule["reasoning_gym"])
            await self._flush(rule["reasoning_gym"], batch)
        return await pending.scores

    async def _flush(self, dataset: str, batch: Sequence[_Pending]) -> None:
        """Score a batch in one program; if that fails, all of the batch stays ungraded."""
        entries = [pending.entry for pending in batch]
        program = gym_program(dataset, entries)
        flat = [
            Submission(str(place), submission.text)
            for place, pending in enumerate(batch)
            for submission in pending.submissions
        ]
        try:
            scores = iter(await self._scored(program, entries, flat))
        except SandboxError as error:
            for pending in batch:
                pending.scores.set_exception(error)
            return
        for pending in batch:
            pending.scores.set_result([next(scores) for _ in pending.submissions])

    async def _scored(
        self, program: str, entries: Sequence[dict[str, Any]], flat: Sequence[Submission]
    ) -> list[Score]:
        """Scores, those of answers included that ended the scorer's process."""
        scores: list[Score] = []
        while len(scores) < len(flat):
            found = await self._sandbox.score(program, flat[len(scores) :])
            scores += takewhile(lambda score: score.fault is None, found)
            if len(scores) == len(flat):
                break
            instance = flat[len(scores)].instance
            if not await self._works(program, instance, entries[int(instance)].get("answer")):
                return scores + found[len(scores) - len(flat) :]
            scores.append(Score(0.0))
        return scores

    async def _works(self, program: str, instance: str, answer: Json) -> bool:
        text = "" if answer is None else str(answer)
        [score] = await self._sandbox.score(program, [Submission(instance, text)])
        return score.value is not None if answer is None else score.value == 1.0
