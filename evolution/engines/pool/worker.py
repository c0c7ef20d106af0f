"""A worker as seen from the run: an engine in another process, each wait with its deadline."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from evolution.bank.anchors import Anchor, StoredVectors, save_anchor
from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.engines.held import HeldLease
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError, WorkerLostError
from evolution.genome.genome import Genome
from memory.errors import AcdcError
from memory.records import Reply
from memory.spans import span

T = TypeVar("T")


class Link(Protocol):
    """The way to a `Host`, wherever it runs."""

    async def start(self) -> None:
        """Start a host; one that was there before is gone for good.

        Raises:
            EngineError: there is no place for it.
        """
        ...

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host.

        Raises:
            WorkerLostError: the host is gone, or was not started.
        """
        ...

    async def close(self) -> None:
        """Let the host close, and end it, whether it could or not."""
        ...

    async def kill(self) -> None:
        """End the host, and all that it has started, at once."""
        ...


class AnchorFiles:
    """Files of anchors, from which workers take them: each is written once, if it has to be.

    Args:
        kept: folder where a run keeps anchors by content hash.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = asyncio.Lock()

    async def path(self, anchor: Anchor) -> Path:
        """Where an anchor lies."""
        if isinstance(anchor.vectors, StoredVectors):
            return anchor.vectors.path
        name = f"{anchor.content_hash}.safetensors"
        if self._kept is not None and (self._kept / name).is_file():
            return self._kept / name
        # Only where it is needed: a run that is killed does not remove it.
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="acdc-anchors-")
        path = Path(self._folder.name) / name
        async with self._lock:
            if not path.is_file():
                await asyncio.to_thread(save_anchor, anchor, path)
        return path

    def close(self) -> None:
        """Remove what was written."""
        if self._folder is not None:
            self._folder.cleanup()


class Worker:
    """An engine in another process: it holds a bank with the same content, and one expert.

    A process that is lost, hangs or overruns a deadline is ended, and whoever waits for it is told.
    It answers again after another `start`.

    Args:
        name: for people.
        link: the way to its host.
        bank: of the run.
        files: of the anchors behind the seeds.
        engine: what the host is to start.
        cluster: deadlines.
    """

    def __init__(
        self,
        name: str,
        link: Link,
        bank: Bank,
        files: AnchorFiles,
        engine: EngineSettings,
        cluster: ClusterSettings,
    ) -> None:
        self.name = name
        self._link = link
        self._bank = bank
        self._files = files
        self._engine = engine
        self._cluster = cluster
        self._lock = asyncio.Lock()
        self._profile: str | None = None
        self._heart: asyncio.Task[None] | None = None
        self._loaded: str | None = None
        self._known: list[str] = []
        self._aside: set[str] = set()

    @property
    def profile(self) -> str:
        """JSON of everything besides genome, prompt and sampling that can change an answer.

        Raises:
            EngineError: the worker was never started.
        """
        if self._profile is None:
            raise EngineError(f"{self.name} was never started")
        return self._profile

    async def start(self) -> None:
        """Start the host, let it load the bank, and check that it is the same one.

        Raises:
            EngineError: it cannot be started, not in time, or is not what it was before.
            BankError: a checkpoint is missing there, or does not fit.
        """
        await self.kill()
        try:
            with span("step", "start", worker=self.name):
                await self._within(self._open(), self._cluster.start_deadline, "start")
        except BaseException:
            await self.kill()
            raise
        self._heart = asyncio.create_task(self._watch(), name=f"heart of {self.name}")

    @asynccontextmanager
    async def lease(self, genome: Genome) -> AsyncIterator[HeldLease]:
        """Materialise an expert; until the lease ends, no other expert can answer here.

        Raises:
            GenomeError: the genome does not fit the bank.
            EngineError: the worker is lost, or cannot load the expert.
        """
        async with self._lock:
            genome_id = self._bank.genome_id(genome)
            deadline = self._cluster.answer_deadline
            await self._within(self._load(genome_id, genome), deadline, "load an expert")

            async def answer(ask: Ask) -> list[Reply]:
                asked = self._link.call("answer", genome_id, ask)
                replies: list[Reply] = await self._within(asked, deadline, "answer")
                if len(replies) != len(ask.prompts):
                    raise EngineError(
                        f"{self.name} gave {len(replies)} replies to {len(ask.prompts)} prompts"
                    )
                return replies

            async def score(prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
                asked = self._link.call("score", genome_id, list(prompts), list(texts))
                found: list[list[float]] = await self._within(asked, deadline, "score")
                return found

            lease = HeldLease(answer, score)
            try:
                yield lease
            finally:
                lease.end()

    async def close(self) -> None:
        """Let the engine close after the current lease, and end its process."""
        async with self._lock:
            self._forget()
            await self._link.close()

    async def kill(self) -> None:
        """End the process at once."""
        self._forget()
        await self._link.kill()

    async def _open(self) -> None:
        origin = self._bank.origin
        await self._link.start()
        # What the bank was before anchors joined it, which are sent to it.
        models = origin.models.model_copy(update={"merges": ()})
        found = await self._link.call(
            "open", models, origin.spectral, origin.cache_dir, self._engine
        )
        if self._profile not in (None, found["profile"]):
            raise EngineError(f"{self.name} came back as another engine: {found['profile']}")
        await self._send_anchors(found["content_hash"])
        self._profile = found["profile"]

    async def _load(self, genome_id: str, genome: Genome) -> None:
        if genome_id == self._loaded:
            return
        self._loaded = None
        await self._send_anchors()
        with span("swap", genome_id, worker=self.name):
            loaded = await self._link.call("load", genome.to_bytes())
        if loaded != genome_id:
            raise EngineError(f"{self.name} loaded expert {loaded} instead of {genome_id}")
        self._loaded = genome_id

    async def _send_anchors(self, held: str | None = None) -> None:
        """Bring the worker's bank to what the run's is now.

        Args:
            held: content hash of the worker's bank; None where nothing new is to be compared.

        Raises:
            EngineError: the worker then holds another bank.
        """
        anchors, wanted = self._bank.anchors, self._bank.content_hash
        joined = anchors[len(self._bank.seed_names) - 1 :]
        new = [anchor for anchor in joined if anchor.name not in self._known]
        for anchor in new:
            await self._link.call("receive", anchor.name, str(await self._files.path(anchor)))
        if new:
            names = [anchor.name for anchor in new]
            held = await self._link.call("append", names)
            self._known += names
        if held not in (None, wanted):
            raise EngineError(
                f"{self.name} loaded a different bank: are base and seeds the same there?"
            )
        aside = [each.name for each in joined if isinstance(each.vectors, StoredVectors)]
        more = [name for name in aside if name not in self._aside]
        if more:
            await self._link.call("set_aside", more)
            self._aside.update(more)

    async def _watch(self) -> None:
        """End a worker that does not show that it lives: whoever waits for it is told."""
        seconds = self._cluster.heartbeat
        while True:
            await asyncio.sleep(seconds / 4)
            try:
                await asyncio.wait_for(self._link.call("ping"), seconds)
            except (TimeoutError, AcdcError):
                await self._link.kill()
                return

    async def _within(self, work: Awaitable[T], seconds: float, what: str) -> T:
        try:
            return await asyncio.wait_for(work, seconds)
        except TimeoutError:
            await self.kill()
            raise WorkerLostError(
                f"{self.name} did not {what} within {seconds:g} s, and was ended"
            ) from None

    def _forget(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
        self._heart = self._loaded = None
        self._known, self._aside = [], set()
