"""The collective of a run: who is in it, and what it answers to one question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.task_force.ballot import Ballot, CandidateAnswer, Vote
from agents.task_force.chooser import ChatJudge
from agents.task_force.field import eligible, force_in
from agents.task_force.methods import Aids, Method, lacking, method_named, select
from agents.task_force.reward_model import RewardModel
from agents.task_force.routing import fitness_of, open_router
from evolution.engines.base import Ask
from memory.hashing import text_hash
from memory.records import ChatMessage, Expert, Json, Reply, Sampling, Token


@dataclass(frozen=True, slots=True)
class CollectiveAnswer:
    """One answer chosen out of N.

    Attributes:
        answer: the chosen extracted answer.
        chosen: the expert whose answer it is.
        method: how it was chosen.
        agreement: share of the N answers that are equal to it after normalisation.
        answers: every candidate, fittest expert first.
        scores: what the method made of each candidate.
        votes: everything that went into the scores.
        seconds: wall clock, loading not counted.
    """

    answer: str
    chosen: str
    method: str
    agreement: float
    answers: tuple[CandidateAnswer, ...]
    scores: tuple[float, ...]
    votes: tuple[Vote, ...]
    seconds: float

    def as_json(self) -> dict[str, Json]:
        """The record for programs; without the list of tokens."""
        record = asdict(self)
        for candidate in record["answers"]:
            del candidate["spelled"]
        return record


@dataclass(frozen=True)
class Member:
    """An expert of the task force, and its fitness on the history."""

    expert: Expert
    fitness: float


class Collective:
    """The task force of a run, ready to answer.

    Args:
        context: the run.
        members: who answers, the fittest first.
        chosen: how one answer is chosen.
        aids: what the method needs.
    """

    def __init__(
        self, context: ReadContext, members: list[Member], chosen: Method, aids: Aids
    ) -> None:
        self.context = context
        self.members = members
        self.method = chosen
        self.aids = aids

    @classmethod
    def open(cls, context: ReadContext, size: int, select_by: str) -> Collective:
        """The force of a size, and a method by its name.

        Raises:
            AnsweringError: the run has no graded experts, the method is unknown, or it lacks
                something.
        """
        chosen = method_named(select_by)
        aids = aids_of(context)
        problem = lacking(chosen, aids)
        if problem is not None:
            raise AnsweringError(problem)
        return cls(context, force_of(context, size), chosen, aids)

    async def ask(self, question: str, sampling: Sampling) -> CollectiveAnswer:
        """Put one question, without a conversation around it.

        Raises:
            AnsweringError: the question is empty.
        """
        if not question.strip():
            raise AnsweringError("the question is empty")
        return await self.answer(question, self.context.render_question(question), sampling)

    async def answer(
        self,
        question: str,
        chat: list[ChatMessage],
        sampling: Sampling,
        seed: int = 0,
        stop: Sequence[str] = (),
        tokens: bool = False,
    ) -> CollectiveAnswer:
        """Let every member answer a conversation, and choose one answer.

        Args:
            question: the question as judges and router see it.
            chat: what the experts see.
            sampling: the same for all.
            seed: of sampling, and of the order in which answers are shown to a judge.
            stop: texts before which a reply ends; what an expert said behind one is not read.
            tokens: whether candidates carry their tokens, each with its log-probability.
        """
        broker = await self.context.population.broker()
        started = time.perf_counter()

        async def one(place: int, member: Member) -> CandidateAnswer:
            genome = self.context.genome(member.expert)
            logprobs = "logprobs" in self.method.needs
            ask = Ask([chat], sampling, [seed + place], logprobs, tokens)
            [reply] = await broker.answer(member.expert.genome_id, genome, ask)
            return CandidateAnswer.of(member.expert.id, cut(reply, stop), member.fitness)

        answers = await asyncio.gather(
            *(one(place, member) for place, member in enumerate(self.members))
        )
        drawn = int(text_hash(question), 16) ^ seed
        ballot = Ballot(question, tuple(answers), seed=drawn)
        choice = await select(self.method, ballot, self.aids)
        return CollectiveAnswer(
            answer=answers[choice.winner].extracted,
            chosen=answers[choice.winner].expert,
            method=self.method.name,
            agreement=ballot.agreement(choice.winner),
            answers=ballot.candidates,
            scores=choice.scores,
            votes=choice.votes,
            seconds=time.perf_counter() - started,
        )


def cut(reply: Reply, stop: Sequence[str]) -> Reply:
    """A reply that ends before the first of some texts; its tokens are counted all the same."""
    places = [place for text in stop if (place := reply.text.find(text)) >= 0]
    if not places:
        return reply
    text = reply.text[: min(places)]
    tokens = None if reply.tokens is None else tuple(_within(reply.tokens, len(text)))
    return reply.model_copy(update={"text": text, "finish_reason": "stop", "tokens": tokens})


def _within(tokens: Sequence[Token], length: int) -> Iterator[Token]:
    """The tokens of the beginning of a text; the last one may lose its end."""
    for token in tokens:
        if length <= 0:
            return
        yield token._replace(text=token.text[:length])
        length -= len(token.text)


async def ask(
    context: ReadContext, question: str, size: int, sampling: Sampling, method: str
) -> CollectiveAnswer:
    """Put one question to the task force of a run, and choose by a method.

    Raises:
        AnsweringError: the question is empty, the run has no graded experts, or the method is
            unknown or lacks something.
    """
    return await Collective.open(context, size, method).ask(question, sampling)


def aids_of(context: ReadContext) -> Aids:
    """What the methods of a run may use."""
    settings = context.config.answering
    judge = ChatJudge(context.chat, settings.shown)
    reward = None
    if settings.reward_model is not None:
        reward = RewardModel(settings.reward_model, settings.reward_device)
    return Aids(
        chooser=judge if context.has_chooser else None,
        rater=judge if context.has_rater else None,
        router=open_router(context),
        reward=reward,
        passes=settings.passes,
    )


def force_of(context: ReadContext, size: int) -> list[Member]:
    """The task force of a run: chosen for Coverage on the history, the fittest expert first.

    Raises:
        AnsweringError: the run has no graded experts yet.
    """
    skills = eligible(context.store)
    if not skills:
        raise AnsweringError(
            f"{context.folder} has no graded experts yet; run it first: acdc run {context.folder}"
        )
    force = force_in(context.store, size)
    chosen = sorted(force.experts, key=lambda expert: -fitness_of(skills[expert]))
    return [Member(context.store.expert(name), fitness_of(skills[name])) for name in chosen]
