"""The broker: many callers, one engine, few swaps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace

from evolution.engines.base import Ask, Engine, Lease, Manner
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.records import Reply

_TURNS = 16
"""Batches in a row for one expert while others wait for the engine."""


@dataclass(eq=False)
class _Request:
    """What one caller asked, the future that it awaits, and the context in which it asked."""

    genome: Genome
    ask: Ask
    context: Context = field(default_factory=copy_context)
    replies: asyncio.Future[list[Reply]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Broker:
    """Gathers requests per expert, so that swaps and batches are shared by concurrent callers.

    The expert in the engine is served while it has work (for a limited number of batches), then
    the one with the most waiting prompts. Replies do not depend on who else asks: that is the
    engine's promise.

    Args:
        engine: where experts answer; the broker closes it.
        gather_seconds: how long requests wait for others for the same expert.

    Attributes:
        swaps: experts that were put into the engine so far, each in place of another.
    """

    def __init__(self, engine: Engine, gather_seconds: float = 0.02) -> None:
        self._engine = engine
        self._gather_seconds = gather_seconds
        self._waiting: dict[str, list[_Request]] = {}
        self._in_hand: list[_Request] = []
        self._arrival = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._holds: str | None = None
        self.swaps = 0

    @property
    def profile(self) -> str:
        """The profile of the engine."""
        return self._engine.profile

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        """Answer prompts as one expert; see `Lease.answer`.

        Raises:
            PromptTooLongError: a prompt and its answer do not fit the model's context.
            EngineError: the engine cannot continue, or the broker is closed.
        """
        if self._closing:
            raise EngineError("the broker is closed")
        if not ask.prompts:
            return []
        request = _Request(genome, ask)
        self._waiting.setdefault(genome_id, []).append(request)
        self._arrival.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="broker")
        return await request.replies

    async def close(self) -> None:
        """Answer pending requests, refuse new ones, and close the engine.

        The engine is closed as well where the work was cancelled, as by a signal: it may hold
        processes that would go on running.
        """
        self._closing = True
        self._arrival.set()
        try:
            if self._worker is not None:
                await self._worker
        finally:
            self._worker = None
            await self._engine.close()

    async def _work(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            await asyncio.sleep(self._gather_seconds)
            while genome_id := self._most_wanted():
                await self._session(genome_id)
            if self._closing:
                return

    def _most_wanted(self) -> str | None:
        """The expert with the most waiting prompts, or urgent ones; of equals, the one asked first.

        What is urgent goes before all that is not.
        """
        for genome_id in list(self._waiting):
            if not self._pending(genome_id):
                del self._waiting[genome_id]

        def rank(genome_id: str) -> tuple[bool, int]:
            waiting = self._waiting[genome_id]
            return any(r.ask.urgent for r in waiting), sum(len(r.ask.prompts) for r in waiting)

        return max(self._waiting, key=rank, default=None)

    def _pending(self, genome_id: str) -> list[_Request]:
        """Requests for an expert whose callers still wait."""
        return [r for r in self._waiting.get(genome_id, []) if not r.replies.done()]

    async def _session(self, genome_id: str) -> None:
        """Serve one expert. An error that is not one request's own goes to all that it stopped."""
        # A swap belongs to who asked first, not to whoever has once set this worker going.
        context = self._pending(genome_id)[0].context
        session = asyncio.create_task(self._serve(genome_id), context=context.copy())
        await _outcome(session)
        if error := session.exception():
            for request in [*self._in_hand, *self._waiting.pop(genome_id, [])]:
                _fail(request, error)
        self._in_hand = []

    async def _serve(self, genome_id: str) -> None:
        held, self._holds = self._holds, None
        async with self._engine.lease(self._waiting[genome_id][0].genome) as lease:
            self.swaps += genome_id != held
            self._holds = genome_id
            for _ in range(_TURNS):
                self._in_hand = self._pending(genome_id)
                self._waiting.pop(genome_id, None)
                for batch in _alike(self._in_hand):
                    await self._answer_batch(lease, batch)
                # Callers that have just been answered may come back with more for this expert.
                await asyncio.sleep(self._gather_seconds)
                if not self._pending(genome_id):
                    return

    async def _answer_batch(self, lease: Lease, batch: list[_Request]) -> None:
        """Answer requests together; if that fails, by halves, so that only the culprit fails."""
        work = asyncio.create_task(_answer(lease, batch))

        def stop_if_nobody_waits(_: object) -> None:
            if all(request.replies.cancelled() for request in batch):
                work.cancel()

        for request in batch:
            request.replies.add_done_callback(stop_if_nobody_waits)
        await _outcome(work)
        if work.cancelled():
            return
        error = work.exception()
        if error is None:
            replies = iter(work.result())
            for request in batch:
                own = [next(replies) for _ in request.ask.prompts]
                if not request.replies.done():
                    request.replies.set_result(own)
        elif len(batch) == 1:
            _fail(batch[0], error)
        else:
            half = len(batch) // 2
            for part in (batch[:half], batch[half:]):
                await self._answer_batch(lease, part)


async def _answer(lease: Lease, batch: Sequence[_Request]) -> list[Reply]:
    first = batch[0].ask
    prompts = [prompt for request in batch for prompt in request.ask.prompts]
    seeds = None
    if first.seeds is not None:
        seeds = [seed for request in batch for seed in request.ask.seeds or ()]
    return await lease.answer(replace(first, prompts=prompts, seeds=seeds))


async def _outcome(task: asyncio.Task[object]) -> None:
    """Wait for the end of a task, whatever it is; whoever cancels the wait cancels the task."""
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise


def _alike(requests: list[_Request]) -> Iterator[list[_Request]]:
    together: dict[Manner, list[_Request]] = {}
    for request in requests:
        together.setdefault(request.ask.manner, []).append(request)
    for manner in sorted(together, key=lambda manner: not manner[0]):  # what is urgent first
        yield together[manner]


def _fail(request: _Request, error: BaseException) -> None:
    if not request.replies.done():
        request.replies.set_exception(error)
