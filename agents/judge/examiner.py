"""The examiner: experts answer instances, and what they answered is graded.

Answering and grading are separate durable steps, keyed by everything that can change their
outcome. What is found in the run store is not made again, so an examination that was interrupted
goes on where it stopped. An infrastructure error leaves a result *missing*, which is never a fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.context import ReadContext, RunContext
from agents.families.items import Item
from agents.judge.extraction import extract
from agents.judge.grader import Failure, Grader, GradingResult, Together, VoteBook
from agents.judge.rater import Rater
from agents.sandbox import Fault
from agents.sandbox.known_scores import KnownScores
from agents.settings import JudgeSettings
from evolution.engines.base import Ask
from evolution.errors import EngineError, PromptTooLongError
from evolution.genome.genome import Genome
from memory.hashing import json_hash
from memory.randomness import derive_seed
from memory.records import Answer, ChatMessage, Reply
from memory.spans import span
from memory.store.shared import SharedBook

__all__ = ["Answerer", "Examiner", "GradeBook", "Item", "Result", "Together", "family_outcome"]


class Answerer(Protocol):
    """The part of the broker that an examiner needs."""

    @property
    def profile(self) -> str:
        """Everything about the engine that can change an answer."""
        ...

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        """Answer prompts as one expert."""
        ...


class GradeBook(VoteBook, Protocol):
    """The part of the run store that an examiner needs."""

    def answers(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers among these keys that are recorded."""
        ...

    def put_answers(self, answers: Sequence[Answer]) -> None:
        """Record answers."""
        ...


@dataclass(frozen=True, slots=True)
class _Question:
    """One prompt to one expert, before it is answered."""

    item: Item
    sample: int
    seed: int
    messages: Sequence[ChatMessage]
    key: str


class Examiner:
    """Examines experts, one after another or several at a time.

    Args:
        store: where answers and grades are kept.
        broker: where experts answer.
        sandbox: where families score, or what takes its place.
        render: turns instructions into the conversation in which an expert is asked.
        settings: sampling, and how many samples per instance.
        seed: root of the seeds of sampling; of no consequence for greedy answers.
        logprobs: whether answers carry log-probabilities; they change no answer.
        rater: grades answers to rated families; None where no model can.
        known: scores that are not to be computed again.
        first: number of the first sample; answers of higher numbers are found after those of lower
            ones where one answer of an expert is wanted.
        urgent: whether its questions go before those of others who are not urgent.
    """

    def __init__(
        self,
        store: GradeBook,
        broker: Answerer,
        sandbox: Together,
        render: Callable[[str], Sequence[ChatMessage]],
        settings: JudgeSettings,
        seed: int = 0,
        logprobs: bool = False,
        rater: Rater | None = None,
        known: KnownScores | None = None,
        first: int = 0,
        urgent: bool = False,
    ) -> None:
        self._store = store
        self._broker = broker
        self._grader = Grader(store, sandbox, rater, known)
        self._render = render
        self._settings = settings
        self._seed = seed
        self._logprobs = logprobs
        self._urgent = urgent
        self._samples = range(first, first + settings.samples)

    async def examine(self, genome_id: str, genome: Genome, items: Sequence[Item]) -> list[Result]:
        """Let one expert answer items, and grade the answers.

        Returns:
            One result per item, or `samples` consecutive ones, in the order of the items.
        """
        questions = [
            self._question(genome_id, item, sample) for item in items for sample in self._samples
        ]
        failures: dict[str, Failure] = {}
        answers = await self._answers(genome_id, genome, questions, failures)
        answered = [(q.item, answers[q.key]) for q in questions if q.key in answers]
        verdicts = await self._grader.grade(answered)
        return [_result(question, answers, verdicts, failures) for question in questions]

    def _question(self, genome_id: str, item: Item, sample: int) -> _Question:
        purpose = f"answer/{genome_id}/{item.instance_hash}"
        seed = derive_seed(self._seed, 0, purpose, sample)
        messages = self._render(item.instructions)
        key = json_hash(
            {
                "genome": genome_id,
                "instance": item.instance_hash,
                "prompt": [message.model_dump() for message in messages],
                "sampling": self._settings.sampling.model_dump(),
                "sample": sample,
                "seed": seed,
                "profile": self._broker.profile,
            }
        )
        return _Question(item, sample, seed, messages, key)

    async def _answers(
        self,
        genome_id: str,
        genome: Genome,
        questions: Sequence[_Question],
        failures: dict[str, Failure],
    ) -> dict[str, Answer]:
        """Answers by key: those on record, and new ones, which are recorded as they come."""
        found = self._store.answers([question.key for question in questions])
        open_ones = {q.key: q for q in questions if q.key not in found}
        if open_ones:
            asking = span(
                "answer", "answer", model=genome_id, genome=genome_id, prompts=len(open_ones)
            )
            with asking as work:
                replies = await self._ask(genome_id, genome, list(open_ones.values()), failures)
                read = sum(reply.tokens_in for reply in replies.values())
                written = sum(reply.tokens_out for reply in replies.values())
                work.set(tokens_in=read, tokens_out=written, tokens=read + written)
            new = {key: _answer(genome_id, open_ones[key], replies[key]) for key in replies}
            self._store.put_answers(list(new.values()))
            found.update(new)
        return found

    async def _ask(
        self,
        genome_id: str,
        genome: Genome,
        questions: Sequence[_Question],
        failures: dict[str, Failure],
    ) -> dict[str, Reply]:
        """Replies by key; what could not be answered goes to the failures."""
        ask = Ask(
            prompts=[question.messages for question in questions],
            sampling=self._settings.sampling,
            seeds=[question.seed for question in questions],
            logprobs=self._logprobs,
            urgent=self._urgent,
        )
        try:
            replies = await self._broker.answer(genome_id, genome, ask)
        except PromptTooLongError as error:
            if len(questions) == 1:
                failures[questions[0].key] = Failure(
                    str(error), Fault("prompt_too_long", str(error))
                )
                return {}
        except EngineError as error:
            failures.update({question.key: Failure(str(error)) for question in questions})
            return {}
        else:
            return {q.key: reply for q, reply in zip(questions, replies, strict=True)}
        # One question is too long for the model: asked one by one, only that one fails.
        singly = await asyncio.gather(
            *(self._ask(genome_id, genome, [question], failures) for question in questions)
        )
        return {key: reply for answered in singly for key, reply in answered.items()}


def _result(
    question: _Question,
    answers: Mapping[str, Answer],
    verdicts: Mapping[str, GradingResult],
    failures: Mapping[str, Failure],
) -> Result:
    verdict = verdicts.get(question.key, GradingResult())
    failure = failures.get(question.key, verdict.failure)
    return Result(
        item=question.item,
        answer=answers.get(question.key),
        passed=verdict.passed,
        error=failure.error if failure is not None and verdict.passed is None else "",
        condemned=failure.condemned if failure is not None else None,
        agreement=verdict.agreement,
    )


def family_outcome(results: Sequence[Result]) -> bool | None:
    """Whether an expert passes a family, from all its results on that family.

    It passes iff it passes every instance; an instance with several samples is passed by more than
    half of them. None if anything is missing.
    """
    if not results or any(result.passed is None for result in results):
        return None
    votes: dict[str, list[bool]] = {}
    for result in results:
        votes.setdefault(result.item.instance, []).append(bool(result.passed))
    return all(2 * sum(passes) > len(passes) for passes in votes.values())


def _answer(genome_id: str, question: _Question, reply: Reply) -> Answer:
    extracted = extract(reply.text)
    return Answer(
        key=question.key,
        genome_id=genome_id,
        instance_hash=question.item.instance_hash,
        sample=question.sample,
        reply=reply,
        extracted=extracted.answer,
        unmarked=extracted.unmarked,
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one item (and, with several samples per instance, of one sample of it).

    Attributes:
        answer: None if the engine failed.
        passed: None if missing, which is never a fail.
        error: why it is missing; "" if it is not.
        condemned: what the family's own code did wrong, twice; the family is to be retired.
        agreement: share of the rater's votes that agree with the outcome; None without votes.
    """

    item: Item
    answer: Answer | None
    passed: bool | None
    error: str = ""
    condemned: Fault | None = None
    agreement: float | None = None


def rater_of(context: ReadContext) -> Rater | None:
    """Who grades rated families; None while only the offline model could, which cannot."""
    if not context.has_rater:
        return None
    config = context.config
    return Rater(context.chat, config.judge.votes, config.seed)


async def examiner_of(
    context: RunContext,
    settings: JudgeSettings | None = None,
    seed: int = 0,
    first: int = 0,
    urgent: bool = False,
) -> Examiner:
    """An examiner in front of a run's engine.

    Args:
        context: of the run.
        settings: sampling, and how many samples per instance; the judge's if None.
        seed: root of the seeds of sampling.
        first: number of the first sample.
        urgent: whether its questions go before those of others who are not urgent.
    """
    store, shared = context.store, context.shared_answers
    return Examiner(
        store=store if shared is None else SharedBook(store, shared),
        broker=await context.population.broker(),
        sandbox=context.sandbox,
        render=context.render_question,
        settings=settings or context.config.judge,
        seed=seed,
        rater=rater_of(context),
        known=context.known_scores,
        first=first,
        urgent=urgent,
    )
