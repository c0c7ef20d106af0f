"""The collective of a run: who is in it, and what it answers to one question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.progress import ProgressEvent
from agents.task_force.agreement import AGREEMENT, agreed, check_until_agree, still_to_ask
from agents.task_force.asked import AskedBefore
from agents.task_force.ballot import Ballot, CandidateAnswer, Choice, Vote
from agents.task_force.chooser import ChatJudge
from agents.task_force.field import require_field, resampled_seeds, standing_of
from agents.task_force.methods import (
    ROUTED,
    UNROUTED,
    Aids,
    Method,
    is_unanimous,
    lacking,
    method_named,
    select,
)
from agents.task_force.reward_model import RewardModel
from agents.task_force.routing import NearFamily, SkillRouter, open_router
from evolution.engines.base import Ask
from memory.hashing import text_hash
from memory.records import ChatMessage, Expert, Json, Reply, Sampling, Token, Voice

JUDGES: Final[tuple[Literal["chooser", "rater"], ...]] = ("chooser", "rater")
"""Roles that methods of best-of-N ask."""
UNANIMOUS = "1, as all that was said is the same"
"""What stands for a unit where no method had to choose."""


@dataclass(frozen=True, slots=True)
class CollectiveAnswer:
    """One answer chosen out of N.

    Attributes:
        answer: the chosen extracted answer.
        chosen: the expert whose answer it is.
        winner: place of that answer among all of them: an expert may have given several.
        method: how it was chosen.
        agreement: share of the N answers that are equal to it after normalisation.
        answers: every candidate, fittest voice first.
        scores: what the method made of each candidate.
        votes: everything that went into the scores.
        seconds: wall clock, loading not counted.
        unit: of the scores, in words.
        nearest: the families of the run's history that are most like the question.
        known: whether the nearest is so much like it that it says something; None where the history
            was not asked.
        unasked: voices that were not asked any more, since enough agreed.
        asked: where the run itself has asked that question: by which family, and whether the answer
            is right.
    """

    answer: str
    chosen: str
    winner: int
    method: str
    agreement: float
    answers: tuple[CandidateAnswer, ...]
    scores: tuple[float, ...]
    votes: tuple[Vote, ...]
    seconds: float
    unit: str = "score"
    nearest: tuple[NearFamily, ...] = ()
    known: bool | None = None
    unasked: int = 0
    asked: AskedBefore | None = None

    @property
    def voices(self) -> int:
        """N, of whom some may not have been asked."""
        return len(self.answers) + self.unasked

    def as_json(self) -> dict[str, Json]:
        """The record for programs; without the list of tokens."""
        record = asdict(self)
        for candidate in record["answers"]:
            del candidate["spelled"]
        return record


@dataclass(frozen=True)
class Member:
    """A voice of the task force.

    Attributes:
        fitness: what it passes of that on which the force was chosen.
        temperature: at which it answers unless somebody wants another one; 0 is greedy.
    """

    expert: Expert
    fitness: float
    temperature: float = 0.0

    @property
    def voice(self) -> Voice:
        """Who answers, and how."""
        return Voice(self.expert.id, self.temperature)


@dataclass(frozen=True, slots=True)
class Manner:
    """How the members of a force are to answer.

    Attributes:
        max_tokens: of one answer.
        temperature: of all of them; None lets every voice answer at its own.
        top_p: of all of them; None stands for that of the run's judge.
        until_agree: as many voices have to agree, and no more are asked; None asks all.
        json_schema: JSON schema, as a text, that every reply is constrained to.
    """

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    until_agree: int | None = None
    json_schema: str | None = None

    def of(self, voice: Voice) -> Voice:
        """The voice as it answers in this manner."""
        return voice if self.temperature is None else Voice(voice.expert, self.temperature)


class Collective:
    """The task force of a run, ready to answer.

    Args:
        context: the run.
        members: who answers, the fittest first; a sampled voice may be there several times.
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
    def open(
        cls, context: ReadContext, size: int, select_by: str, *, alone: bool = False
    ) -> Collective:
        """The force of a size, and a method by its name.

        Args:
            context: the run.
            size: N.
            select_by: name of the method.
            alone: whether N different experts answer greedily, in place of N voices.

        Raises:
            AnsweringError: the run has no graded experts, the method is unknown, or it lacks
                something.
        """
        chosen = method_named(select_by)
        aids = aids_of(context)
        problem = lacking(chosen, aids)
        if problem is not None:
            raise AnsweringError(problem)
        return cls(context, force_of(context, size, alone=alone), chosen, aids)

    def always_the_same(self, manner: Manner) -> bool:
        """Whether all answer greedily, so that asking again gives nothing new."""
        if manner.temperature is not None:
            return manner.temperature == 0.0
        return all(member.voice.greedy for member in self.members)

    async def ask(self, question: str, manner: Manner) -> CollectiveAnswer:
        """Put one question, without a conversation around it.

        Raises:
            AnsweringError: the question is empty, or a judge takes longer than
                `answering.patience`.
        """
        if not question.strip():
            raise AnsweringError("the question is empty")
        chat = self.context.render_question(question)
        patience = self.context.config.answering.patience
        return await self.answer(question, chat, manner, patience=patience)

    async def answer(
        self,
        question: str,
        chat: list[ChatMessage],
        manner: Manner,
        seed: int = 0,
        stop: Sequence[str] = (),
        tokens: bool = False,
        patience: float | None = None,
    ) -> CollectiveAnswer:
        """Let every member answer a conversation, or enough of them, and choose one answer.

        Args:
            question: the question as judges and router see it.
            chat: what the experts see.
            manner: of answering.
            seed: of sampling, to which each member adds its place; and of the order in which
                answers are shown to a judge.
            stop: texts before which a reply ends; what an expert said behind one is not read.
            tokens: whether candidates carry their tokens, each with its log-probability.
            patience: seconds that a judge may take; None for as long as its endpoint allows.

        Raises:
            AnsweringError: a judge took longer, or fewer members are there than have to agree.
        """
        voices, until = len(self.members), manner.until_agree
        check_until_agree(until, voices)
        broker = await self.context.population.broker()
        started = time.perf_counter()
        history = self.aids.router if isinstance(self.aids.router, SkillRouter) else None
        known = None if history is None else history.knows(question)
        chosen_by = self._method_where(known)

        async def one(place: int, member: Member) -> CandidateAnswer:
            genome = self.context.genome(member.expert)
            logprobs = "logprobs" in chosen_by.needs
            voice = manner.of(member.voice)
            sampling, schema = self._sampling(voice, manner), manner.json_schema
            ask = Ask([chat], sampling, [seed + place], logprobs, tokens, schema)
            [reply] = await broker.answer(member.expert.genome_id, genome, ask)
            return CandidateAnswer.of(voice, cut(reply, stop), member.fitness)

        answers: list[CandidateAnswer] = []
        while more := still_to_ask(answers, voices, until):
            places = range(len(answers), len(answers) + more)
            answers += await asyncio.gather(*(one(at, self.members[at]) for at in places))
        drawn = int(text_hash(question), 16) ^ seed
        ballot = Ballot(question, tuple(answers), seed=drawn)
        if lacking(chosen_by, self.aids, ballot) is not None:  # the engine gives none
            chosen_by = self.method
        choice = None if until is None else agreed(ballot, until)
        name, unit = AGREEMENT, "votes"
        if choice is None:
            choice = await self._chosen(chosen_by, ballot, patience)
            name = chosen_by.name
            unit = UNANIMOUS if is_unanimous(ballot) else chosen_by.unit
        heard = [answer.voice for answer in answers]
        said = answers[choice.winner].extracted
        own = None if history is None else history.history
        return CollectiveAnswer(
            answer=said,
            chosen=answers[choice.winner].expert,
            winner=choice.winner,
            method=name,
            agreement=ballot.agreement(choice.winner),
            answers=ballot.candidates,
            scores=choice.scores,
            votes=choice.votes,
            seconds=time.perf_counter() - started,
            unit=unit,
            nearest=tuple(history.nearest(question, heard)) if history is not None else (),
            known=known,
            unasked=voices - len(answers),
            asked=None if own is None else own.judged(question, said),
        )

    async def _chosen(self, method: Method, ballot: Ballot, patience: float | None) -> Choice:
        """Choose, and say for whom one waits.

        Raises:
            AnsweringError: a judge took longer.
            ChatError: it cannot be reached.
        """
        role = next((role for role in JUDGES if role in method.needs), None)
        if role is None or is_unanimous(ballot):
            return await select(method, ballot, self.aids)
        host = urlsplit(self.context.config.endpoints.of(role).base_url).netloc
        self.context.progress(ProgressEvent("step", f"waiting for the {role} at {host}"))
        try:
            async with asyncio.timeout(patience):
                return await select(method, ballot, self.aids)
        except TimeoutError:
            raise AnsweringError(
                f"the {role} at {host} has not answered within {patience:g} s: raise "
                "answering.patience, or choose by a method that needs no judge (--select logprob)"
            ) from None

    def _method_where(self, known: bool | None) -> Method:
        """What chooses: where nothing like the question was asked, the history cannot."""
        if known is False and self.method.name == ROUTED:
            return method_named(UNROUTED)
        return self.method

    def _sampling(self, voice: Voice, manner: Manner) -> Sampling:
        judge = self.context.config.judge
        return Sampling(
            temperature=voice.temperature,
            top_p=judge.top_p if manner.top_p is None else manner.top_p,
            max_tokens=manner.max_tokens,
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
    context: ReadContext, question: str, size: int, manner: Manner, method: str
) -> CollectiveAnswer:
    """Put one question to the task force of a run, and choose by a method.

    Raises:
        AnsweringError: the question is empty, the run has no graded experts, or the method is
            unknown or lacks something.
    """
    return await Collective.open(context, size, method).ask(question, manner)


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


def force_of(context: ReadContext, size: int, *, alone: bool = False) -> list[Member]:
    """The task force of a run: chosen for Coverage in the finals, the fittest voice first.

    Args:
        context: the run.
        size: N.
        alone: whether N different experts answer greedily, in place of N voices.

    Raises:
        AnsweringError: the run has no graded experts yet.
    """
    standing = standing_of(context.store)
    require_field(standing, context.folder)
    seeds = resampled_seeds(context.store)
    force = standing.alone(size) if alone else standing.force(size, seeds)
    chosen = sorted(force.voices, key=lambda voice: -standing.fitness(voice))
    return [
        Member(context.store.expert(voice.expert), standing.fitness(voice), voice.temperature)
        for voice in chosen
    ]
