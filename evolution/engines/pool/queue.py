"""Who answers what next: one queue of (expert, chunk of prompts), longest first, no barriers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from evolution.engines.base import Ask
from evolution.engines.pool.waiting import Place, Request, WaitingPrompts
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.records import Reply

_TURNS = 16
"""Chunks in a row of one expert for a worker while others wait whom nobody serves."""

_LOSSES = 3
"""Workers that may be lost over one chunk: after them it is taken for the cause."""


@dataclass(eq=False)
class Job:
    """A chunk: prompts for one expert that are answered together.

    Attributes:
        places: of the prompts, all of one expert and one manner.
        losses: how many workers were lost while they had it.
        runners: workers that have it now, and how each is stopped.
        since: when it was first given to one of them, in seconds of the loop.
    """

    places: list[Place]
    losses: int = 0
    runners: dict[str, Callable[[], object]] = field(default_factory=dict)
    since: float = 0.0

    @property
    def genome_id(self) -> str:
        """Of the expert."""
        return self.places[0].request.genome_id

    @property
    def genome(self) -> Genome:
        """Of the expert."""
        return self.places[0].request.genome

    @property
    def ask(self) -> Ask:
        """All its prompts as one."""
        first = self.places[0].request.ask
        prompts = [request.ask.prompts[number] for request, number in self.places]
        seeds = None
        if first.seeds is not None:
            seeds = [request.ask.seeds[number] for request, number in self.places]  # type: ignore[index]
        return replace(first, prompts=prompts, seeds=seeds)

    @property
    def requests(self) -> list[Request]:
        """Whose prompts it holds, each once."""
        return list(dict.fromkeys(place.request for place in self.places))

    @property
    def wanted(self) -> bool:
        """Whether a caller still waits for one of them."""
        return any(not request.replies.done() for request in self.requests)

    def stop(self) -> None:
        """Let all workers drop it."""
        for stop in list(self.runners.values()):
            stop()

    def stop_if_unwanted(self, _: object = None) -> None:
        """Let all workers drop it, unless a caller waits for it."""
        if not self.wanted:
            self.stop()


class WorkQueue:
    """Prompts that wait, chunks that are being answered, and chunks to be answered again.

    It knows workers by their names only, and waits for nothing.

    Args:
        chunk: prompts of a chunk, at most.
        reissue_after: seconds after which a chunk may be given to a second worker.
    """

    def __init__(self, chunk: int, reissue_after: float) -> None:
        self._chunk = chunk
        self._reissue_after = reissue_after
        self._waiting = WaitingPrompts()
        self._again: deque[Job] = deque()
        self._running: dict[Job, None] = {}
        self._turns: dict[str, int] = {}

    def put(self, request: Request) -> None:
        """Let a request wait."""
        self._waiting.put(request)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is being answered."""
        self._drop_unwanted()
        return not (self._waiting or self._again or self._running)

    @property
    def returned(self) -> int:
        """How many chunks wait that are to be answered again."""
        return len(self._again)

    def take(self, worker: str, holds: str | None, now: float) -> Job | None:
        """The next chunk for a worker that is free; None if there is nothing for it.

        Args:
            worker: its name.
            holds: identifier of the expert that it holds.
            now: in seconds of the loop.
        """
        self._drop_unwanted()
        job = self._next(worker, holds, now)
        if job is None:
            return None
        self._turns[worker] = self._turns.get(worker, 0) + 1 if job.genome_id == holds else 0
        if not job.runners:
            job.since = now
            self._running[job] = None
            self._waiting.serve(job.genome_id, 1)
            for request in job.requests:
                request.replies.add_done_callback(job.stop_if_unwanted)
        return job

    def wait(self, worker: str, now: float) -> float | None:
        """Seconds until a chunk of another worker is late; None if none is being answered."""
        job = self._oldest_besides(worker)
        return None if job is None else max(0.0, job.since + self._reissue_after - now)

    def finish(self, job: Job, worker: str, replies: Iterable[Reply]) -> None:
        """A worker has answered a chunk: its callers are told, and others drop it."""
        self._leave(job, worker)
        if self._end(job):
            for (request, number), reply in zip(job.places, replies, strict=True):
                request.answered(number, reply)
            job.stop()

    def drop(self, job: Job, worker: str) -> None:
        """A worker has stopped on a chunk that it was told to drop."""
        self._leave(job, worker)
        if not job.runners and self._end(job) and job.wanted:
            self._again.append(job)

    def lose(self, job: Job, worker: str, error: EngineError) -> None:
        """A worker was lost while it had a chunk: it is given to another one, so many times."""
        job.losses += 1
        self.drop(job, worker)
        if job.losses >= _LOSSES and job in self._again:
            self._again.remove(job)
            failure = EngineError(f"{job.losses} workers were lost over the same prompts: {error}")
            for request in job.requests:
                request.failed(failure)

    def fail(self, job: Job, worker: str, error: BaseException) -> None:
        """A chunk has failed: only the caller at fault is told, whom halving finds."""
        self._leave(job, worker)
        if not self._end(job):
            return
        job.stop()
        requests = job.requests
        if len(requests) == 1:
            requests[0].failed(error)
            return
        first = set(requests[: len(requests) // 2])
        for half in (True, False):
            places = [place for place in job.places if (place.request in first) is half]
            self._again.append(Job(places, job.losses))

    def fail_all(self, error: BaseException) -> None:
        """Nobody can answer any more."""
        chunks = [place for job in [*self._again, *self._running] for place in job.places]
        for request in dict.fromkeys(place.request for place in [*self._waiting, *chunks]):
            request.failed(error)
        self._waiting.clear()
        self._again.clear()
        self._running.clear()

    def _leave(self, job: Job, worker: str) -> None:
        job.runners.pop(worker, None)

    def _end(self, job: Job) -> bool:
        """A chunk is not being answered any more; whether it was until now."""
        if job not in self._running:
            return False
        del self._running[job]
        self._waiting.serve(job.genome_id, -1)
        return True

    def _next(self, worker: str, holds: str | None, now: float) -> Job | None:
        if self._again:
            return self._again.popleft()
        keeps = holds if holds in self._waiting else None
        if keeps is not None and self._turns.get(worker, 0) < _TURNS:
            return self._cut(keeps)
        other = self._waiting.longest(served=False, besides=holds)
        chosen = other or keeps or self._waiting.longest(served=True)
        if chosen is not None:
            return self._cut(chosen)
        late = self._oldest_besides(worker)
        return late if late is not None and now >= late.since + self._reissue_after else None

    def _cut(self, expert: str) -> Job:
        return Job(self._waiting.cut(expert, self._chunk))

    def _oldest_besides(self, worker: str) -> Job | None:
        """The chunk that one other worker has had for the longest time."""
        alone = (job for job in self._running if len(job.runners) == 1)
        return next((job for job in alone if worker not in job.runners), None)

    def _drop_unwanted(self) -> None:
        """Forget what no caller waits for."""
        self._waiting.drop_unwanted()
        self._again = deque(job for job in self._again if job.wanted)
