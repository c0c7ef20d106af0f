"""What engines have in common that hold one expert at a time and work in one thread."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.records import Reply
from memory.spans import span

T = TypeVar("T")
COLDEST = 1e-5
"""Below this temperature only the best score counts, and dividing the others by it may overflow."""


class Stopped(Exception):
    """The replies are no longer wanted."""


class HeldEngine(ABC):
    """Holds one expert at a time; a lease swaps another one in.

    All work happens in a single thread, so a swap never overtakes replies that were abandoned.

    Args:
        bank: that the genomes belong to.
        prepare: called in the thread before any work.
    """

    def __init__(self, bank: Bank, prepare: Callable[[], object] = lambda: None) -> None:
        self._bank = bank
        self._loaded: str | None = None
        self._closed = False
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "acdc-engine", initializer=prepare)

    @property
    @abstractmethod
    def profile(self) -> str:
        """JSON of everything besides genome, prompt and sampling that can change an answer."""

    @abstractmethod
    def _swap(self, genome: Genome) -> None:
        """Replace the loaded expert by another."""

    @abstractmethod
    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        """Answer prompts, greedily where there are no seeds; `stop` ends it early."""

    @abstractmethod
    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of given replies."""

    def _release(self) -> None:  # noqa: B027
        """Release what the engine holds outside of this process."""

    @asynccontextmanager
    async def lease(self, genome: Genome) -> AsyncIterator[HeldLease]:
        """Materialise an expert, unless it is loaded already; no other one answers until the end.

        Raises:
            EngineError: the engine is closed, or the swap failed.
            GenomeError: the genome does not fit the bank.
        """
        async with self._lock:
            await self._load(genome)
            lease = HeldLease(self._answer, self._score)
            try:
                yield lease
            finally:
                lease.end()

    async def close(self) -> None:
        """Stop, after the current lease has ended."""
        async with self._lock:
            if not self._closed:
                await self._in_thread(self._release)
            self._closed = True
            await asyncio.to_thread(self._thread.shutdown)

    async def _load(self, genome: Genome) -> None:
        genome_id = self._bank.genome_id(genome)
        if genome_id == self._loaded:
            return
        # Until the swap is complete the weights belong to no expert.
        self._loaded = None
        with span("swap", genome_id):
            await self._in_thread(lambda: self._swap(genome))
        self._loaded = genome_id

    async def _answer(self, ask: Ask) -> list[Reply]:
        if ask.sampling.temperature < COLDEST:
            greedy = ask.sampling.model_copy(update={"temperature": 0.0})
            ask = replace(ask, sampling=greedy, seeds=None)
        elif ask.seeds is None:
            raise ValueError("a temperature above 0 needs one seed per prompt")
        stop = threading.Event()
        try:
            return await self._in_thread(lambda: self._complete(ask, stop))
        except asyncio.CancelledError:
            stop.set()
            raise

    async def _score(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        return await self._in_thread(lambda: self._judge(prompts, texts))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise EngineError("the engine is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass
class HeldLease:
    """One expert in the engine, until the lease ends."""

    _engine_answer: Callable[[Ask], Awaitable[list[Reply]]]
    _engine_score: Callable[[Sequence[Chat], Sequence[str]], Awaitable[list[list[float]]]]
    _ended: bool = False

    async def answer(self, ask: Ask) -> list[Reply]:
        """Answer each prompt as this expert; see `Lease.answer`."""
        self._check()
        return await self._engine_answer(ask)

    async def score(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of given replies; see `Lease.score`."""
        self._check()
        return await self._engine_score(prompts, texts)

    def end(self) -> None:
        """From now on this lease cannot answer."""
        self._ended = True

    def _check(self) -> None:
        if self._ended:
            raise EngineError("the lease has ended: another expert may be loaded now")


def processor(device: torch.device) -> str:
    """What computes, as far as it can change an answer."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
