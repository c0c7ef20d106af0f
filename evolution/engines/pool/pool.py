"""The pool: many callers, many workers, and nothing lost when one of them is."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from evolution.engines.base import Ask, Lease
from evolution.engines.pool.queue import Job, WorkQueue
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.pool.waiting import Request
from evolution.errors import EngineError, EvolutionError, NoWorkerError, WorkerLostError
from evolution.genome.genome import Genome
from memory.records import Reply

_GATHER_SECONDS = 0.02
"""How long a worker that is free waits for more prompts for the same expert."""
_PAUSE_SECONDS = 1.0
"""Before a worker is replaced again that could not be replaced."""

_log = logging.getLogger(__name__)


class Replaceable(Protocol):
    """What a pool asks of a worker: an engine that can be started again."""

    @property
    def name(self) -> str:
        """For people, one of its own."""
        ...

    @property
    def profile(self) -> str:
        """As of an engine."""
        ...

    async def start(self) -> None:
        """Start, or start again; within a deadline of its own."""
        ...

    def lease(self, genome: Genome) -> AbstractAsyncContextManager[Lease]:
        """As of an engine; within a deadline of its own."""
        ...

    async def close(self) -> None:
        """As of an engine."""
        ...


class Pool:
    """Lets experts answer in several workers at once; takes the place of a `Broker`.

    A worker that is free takes a chunk for the expert that it holds, else for the expert with the
    most waiting prompts whom nobody serves. Callers get their replies as soon as all of their
    prompts are answered. What a lost worker had is given to another one; what takes long is given
    to a second one, and the first to answer counts. Replies do not depend on who gives them: that
    is the engines' promise, and all workers have the same profile.

    Args:
        workers: where experts answer; the pool closes them.
        settings: chunks, and how often a worker is replaced.
        close: what is closed after the workers.

    Attributes:
        swaps: experts that were put into a worker so far, each in place of another.
    """

    def __init__(
        self,
        workers: Sequence[Replaceable],
        settings: ClusterSettings,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._workers = list(workers)
        self._settings = settings
        self._close = close
        self._queue = WorkQueue(settings.chunk, settings.reissue_after)
        self._free = deque[asyncio.Event]()
        self._tasks: list[asyncio.Task[None]] = []
        self._left = len(self._workers)
        self._profile: str | None = None
        self._end: EvolutionError | None = None
        self._closing = False
        self.swaps = 0

    @property
    def profile(self) -> str:
        """The profile of every worker.

        Raises:
            EngineError: the pool was not started.
        """
        if self._profile is None:
            raise EngineError("the pool was not started")
        return self._profile

    async def start(self) -> None:
        """Start all workers, and wait for all; those that do not come are tried again.

        Raises:
            EngineError: none has come, or they are not alike.
        """
        try:
            await self._start()
        except BaseException:
            await self._close_workers()
            raise

    async def _start(self) -> None:
        missing = await asyncio.gather(*(_start_error(worker) for worker in self._workers))
        pairs = list(zip(self._workers, missing, strict=True))
        profiles = {worker.profile: worker.name for worker, error in pairs if error is None}
        if not profiles:
            raise next(error for error in missing if error is not None)
        if len(profiles) > 1:
            raise EngineError(
                "the workers of a pool have to be alike, or answers would depend on who gives "
                "them: " + "; ".join(f"{name}: {profile}" for profile, name in profiles.items())
            )
        [self._profile] = profiles
        for worker, error in pairs:
            if error is not None:
                _log.warning("%s: %s", worker.name, error)
            task = asyncio.create_task(self._work(worker, error), name=worker.name)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        """Answer prompts as one expert; see `Lease.answer`.

        Raises:
            PromptTooLongError: a prompt and its answer do not fit the model's context.
            EngineError: the engine cannot continue, or the pool is closed.
            NoWorkerError: all workers are lost, and could not be replaced.
        """
        if self._end is not None:
            raise self._end
        if self._closing or self._profile is None:
            raise EngineError("the pool is closed" if self._closing else "the pool was not started")
        if not ask.prompts:
            return []
        replies: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self._queue.put(Request(genome_id, genome, ask, replies))
        self._wake(-(-len(ask.prompts) // self._settings.chunk))
        return await replies

    async def close(self) -> None:
        """Answer what waits, refuse what comes, and close the workers.

        They are closed as well where the work was cancelled, as by a signal.
        """
        self._closing = True
        self._wake_all()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            await self._close_workers()

    async def _close_workers(self) -> None:
        closing = (worker.close() for worker in self._workers)
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(error, Exception):
                _log.warning("a worker did not close: %s", error)
        if self._close is not None:
            await self._close()

    async def _work(self, worker: Replaceable, missing: EvolutionError | None) -> None:
        """Serve with one worker, and replace it when it is lost, as often as is allowed.

        Args:
            worker: who serves.
            missing: why it has not started yet.
        """
        losses, holds = 0, None
        while True:
            if missing is not None:
                losses += 1
                if losses > self._settings.restarts:
                    self._retire(worker, missing)
                    return
                holds, missing = None, await self._replaced(worker)
                continue
            job = await self._next(worker.name, holds)
            if job is None:
                return
            try:
                if await self._carry_out(worker, job):
                    losses = 0
                self.swaps += job.genome_id != holds
                holds = job.genome_id
            except WorkerLostError as error:
                _log.warning("%s is replaced: %s", worker.name, error)
                missing = error
            # What is free has found nothing; only what came back is new to it.
            self._wake(self._queue.returned)
            if self._closing and self._queue.idle:
                self._wake_all()

    async def _replaced(self, worker: Replaceable) -> EvolutionError | None:
        """Start a worker again; returns why it could not be."""
        error = await _start_error(worker)
        if error is None and worker.profile != self._profile:
            error = EngineError(f"{worker.name} is not like the others: {worker.profile}")
        if error is not None:
            _log.warning("%s: %s", worker.name, error)
            await asyncio.sleep(_PAUSE_SECONDS)
        return error

    def _retire(self, worker: Replaceable, reason: BaseException) -> None:
        self._left -= 1
        _log.warning("%s is not replaced any more: %s", worker.name, reason)
        if not self._left:
            self._stop(
                NoWorkerError(
                    f"all workers are lost ({reason}); everything is kept: run the same command to "
                    "go on"
                )
            )

    def _stop(self, reason: EvolutionError) -> None:
        """Nobody can answer any more."""
        self._end = reason
        self._queue.fail_all(reason)
        self._wake_all()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever is waiting fails if the task that serves it has failed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stop(EngineError(f"the pool has failed: {type(error).__name__}: {error}"))

    async def _next(self, worker: str, holds: str | None) -> Job | None:
        """The next chunk for a worker; None if the pool is closed and nothing is left."""
        await asyncio.sleep(_GATHER_SECONDS)
        while True:
            now = asyncio.get_running_loop().time()
            job = self._queue.take(worker, holds, now)
            if job is not None:
                return job
            if self._closing and self._queue.idle:
                return None
            woken = asyncio.Event()
            self._free.append(woken)
            # What begins from now on is late no sooner than that.
            late = self._queue.wait(worker, now)
            patience = self._settings.reissue_after if late is None else late
            try:
                await asyncio.wait_for(woken.wait(), patience)
            except TimeoutError:
                self._free = deque(each for each in self._free if each is not woken)

    async def _carry_out(self, worker: Replaceable, job: Job) -> bool:
        """Let a worker answer a chunk.

        Returns:
            Whether it did: another one may have been faster, or the callers gone.

        Raises:
            WorkerLostError: the worker is lost; the chunk is in the queue again.
        """
        work = asyncio.create_task(_answered(worker, job))
        job.runners[worker.name] = work.cancel
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.cancelled():
            self._queue.drop(job, worker.name)
            return False
        error = work.exception()
        if error is None:
            self._queue.finish(job, worker.name, work.result())
            return True
        if isinstance(error, WorkerLostError):
            self._queue.lose(job, worker.name, error)
            raise error
        self._queue.fail(job, worker.name, error)
        return True

    def _wake(self, count: int) -> None:
        """Let so many workers that are free look for work, those first that have waited longest.

        Not all of them: a thousand would look for each chunk in vain.
        """
        for _ in range(min(count, len(self._free))):
            self._free.popleft().set()

    def _wake_all(self) -> None:
        self._wake(len(self._free))


async def _start_error(worker: Replaceable) -> EvolutionError | None:
    """Start a worker; returns why it could not be."""
    try:
        await worker.start()
    except EvolutionError as error:
        return error
    return None


async def _answered(worker: Replaceable, job: Job) -> list[Reply]:
    async with worker.lease(job.genome) as lease:
        return await lease.answer(job.ask)
