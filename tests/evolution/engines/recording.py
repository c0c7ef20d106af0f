"""An engine, or worker, that answers by a rule and writes down what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from evolution.engines.base import Ask, Chat
from evolution.errors import EngineError, WorkerLostError
from evolution.genome.genome import Genome
from memory.records import ChatMessage, Reply, Sampling

GREEDY = Sampling()


def genome(number: float) -> Genome:
    return Genome(np.full((1, 1), number, np.float32))


ALPHA, BETA = genome(1), genome(2)


def chats(*questions: str) -> list[list[ChatMessage]]:
    return [[ChatMessage(role="user", content=question)] for question in questions]


class RecordingEngine:
    """Answers with the number of the genome and the question; writes down swaps and batches.

    Attributes:
        seconds: that an answer takes.
        broken: experts that do not load.
        losing: how often it is lost before it answers.
        starting: with what the next starts fail, the last one first.
    """

    def __init__(self, name: str = "worker", profile: str = "{}") -> None:
        self.name, self.profile = name, profile
        self.swaps: list[float] = []
        self.batches: list[list[str]] = []
        self.cancelled = 0
        self.closed = False
        self.seconds = 0.0
        self.broken: set[float] = set()
        self.held: float | None = None
        self.losing = 0
        self.starting: list[EngineError] = []
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        self.held = None
        if self.starting:
            raise self.starting.pop()

    @asynccontextmanager
    async def lease(self, genome: Genome) -> AsyncIterator[RecordingLease]:
        number = float(genome.coefficients[0, 0])
        if number != self.held:
            self.swaps.append(number)
            self.held = None
            if number in self.broken:
                raise EngineError(f"{number} does not load")
            self.held = number
        yield RecordingLease(self, number)

    async def close(self) -> None:
        self.closed = True


class RecordingLease:
    def __init__(self, engine: RecordingEngine, number: float) -> None:
        self.engine, self.number = engine, number

    async def answer(self, ask: Ask) -> list[Reply]:
        questions = [prompt[-1].content for prompt in ask.prompts]
        self.engine.batches.append(questions)
        try:
            await asyncio.sleep(self.engine.seconds)
        except asyncio.CancelledError:
            self.engine.cancelled += 1
            raise
        if self.engine.losing > 0 or "deadly" in questions:
            self.engine.losing = max(0, self.engine.losing - 1)
            raise WorkerLostError(f"{self.engine.name} is gone")
        if "poison" in questions:
            raise EngineError("poisoned")
        drawn = [""] * len(questions) if ask.seeds is None else [f" {seed}" for seed in ask.seeds]
        return [
            Reply(
                text=f"{self.number:g} {question}{seed}",
                tokens_in=1,
                tokens_out=ask.sampling.max_tokens,
                finish_reason="length",
                seconds=0.0,
            )
            for question, seed in zip(questions, drawn, strict=True)
        ]

    async def score(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        raise EngineError("nothing asks the broker for scores")
