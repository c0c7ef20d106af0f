"""Best-of-N: the task force answers, and one answer is chosen."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agents.context import RunContext
from agents.errors import AnsweringError
from agents.extraction import extract
from evolution.coverage import task_force
from memory.records import Expert, Reply, Sampling


@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """What one expert of the force said."""

    expert: str
    text: str
    extracted: str
    tokens: int


@dataclass(frozen=True, slots=True)
class CollectiveAnswer:
    """One answer chosen out of N.

    Attributes:
        answer: the chosen extracted answer.
        chosen: the expert whose answer it is.
        method: how it was chosen.
        agreement: share of the N answers that are equal to it after normalisation.
        answers: every candidate, fittest expert first.
        seconds: wall clock, loading not counted.
    """

    answer: str
    chosen: str
    method: str
    agreement: float
    answers: tuple[CandidateAnswer, ...]
    seconds: float


def normalise(answer: str) -> str:
    """The form in which two answers count as the same: case, spaces and closing marks aside."""
    return re.sub(r"\s+", " ", answer).strip().strip(".!\"'`*").casefold()


def majority(answers: Sequence[CandidateAnswer]) -> int:
    """Index of the chosen answer: the most frequent one, ties by the fitter expert.

    Args:
        answers: candidates, the fittest expert first. Empty answers have no vote while another
            expert said something.
    """
    spoken = [index for index, answer in enumerate(answers) if normalise(answer.extracted)]
    voters = spoken or range(len(answers))
    votes = Counter(normalise(answers[index].extracted) for index in voters)
    return min(voters, key=lambda index: (-votes[normalise(answers[index].extracted)], index))


def force_of(context: RunContext, size: int) -> list[Expert]:
    """The task force of a run: chosen for Coverage on the history, the fittest expert first.

    Raises:
        AnsweringError: the run has no graded experts yet.
    """
    store = context.store
    families = [family.id for family in store.families()]
    order = list(dict.fromkeys([*[e.id for e in context.archive_experts()], *_seeds(context)]))
    skills = {expert: store.skills(expert) for expert in order}
    skills = {expert: vector for expert, vector in skills.items() if vector}
    if not skills:
        raise AnsweringError(
            f"{context.folder} has no graded experts yet; run it first: acdc run {context.folder}"
        )
    force = task_force(skills, families, min(size, len(skills)))
    chosen = sorted(force.experts, key=lambda expert: -_fitness(skills[expert]))
    return [store.expert(expert) for expert in chosen]


def _seeds(context: RunContext) -> list[str]:
    return [expert.id for expert in context.store.experts(0) if expert.is_seed]


def _fitness(skills: dict[str, bool]) -> float:
    return sum(skills.values()) / len(skills)


async def ask(
    context: RunContext, question: str, size: int, sampling: Sampling
) -> CollectiveAnswer:
    """Put one question to the task force and choose by majority of extracted answers.

    Raises:
        AnsweringError: the question is empty, or the run has no graded experts.
    """
    if not question.strip():
        raise AnsweringError("the question is empty")
    force = force_of(context, size)
    broker = await context.population.broker()
    prompt = context.render_question(question)
    started = time.perf_counter()

    async def one(expert: Expert) -> Reply:
        replies = await broker.answer(
            expert.genome_id, context.genome(expert), [prompt], sampling, [0]
        )
        return replies[0]

    replies = await asyncio.gather(*(one(expert) for expert in force))
    answers = tuple(
        CandidateAnswer(expert.id, reply.text, extract(reply.text).answer, reply.tokens_out)
        for expert, reply in zip(force, replies, strict=True)
    )
    winner = majority(answers)
    same = sum(normalise(a.extracted) == normalise(answers[winner].extracted) for a in answers)
    return CollectiveAnswer(
        answer=answers[winner].extracted,
        chosen=answers[winner].expert,
        method="majority",
        agreement=same / len(answers),
        answers=answers,
        seconds=time.perf_counter() - started,
    )
