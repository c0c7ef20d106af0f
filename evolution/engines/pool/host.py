"""What runs in a worker: a bank, an engine on it, and one expert at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from memory.threads import done_in_own_thread  # isort: skip  # before PyTorch

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.base import Ask, Chat, Engine
from evolution.engines.opening import open_engine
from evolution.engines.pool.channel import Service
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from evolution.planning.placement import load_placed_bank
from memory.records import Reply


class Host(Service):
    """Serves a run: holds the same bank as it does, and answers as the expert that was loaded."""

    def __init__(self) -> None:
        super().__init__()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[str, Path] = {}
        self._bank: Bank | None = None
        self._engine: Engine | None = None
        self._loaded: tuple[str, Genome] | None = None

    async def open(
        self, models: ModelSettings, spectral: SpectralSettings, cache: Path, engine: EngineSettings
    ) -> dict[str, str]:
        """Load base and seeds, and start the engine.

        Returns:
            `profile` of the engine, `content_hash` of the bank.

        Raises:
            BankError: a checkpoint is missing here, or does not fit.
            EngineError: the engine cannot be started.
        """

        def load() -> tuple[Bank, Engine]:
            bank = load_placed_bank(models, spectral, engine, cache)
            return bank, open_engine(bank, engine)

        self._bank, self._engine = held, started = await done_in_own_thread(load)
        return {"profile": started.profile, "content_hash": held.content_hash}

    async def receive(self, name: str, content: str | bytes) -> None:
        """Take an anchor's file: where it lies, or its bytes where no folder is shared."""
        if isinstance(content, bytes):
            # Only where it is needed: a worker that is killed does not remove it.
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="acdc-host-")
            path = Path(self._folder.name) / f"{len(self._files):04}.safetensors"
            path.write_bytes(content)
        else:
            path = Path(content)
        self._files[name] = path

    async def append(self, names: Sequence[str]) -> str:
        """Let anchors join the bank whose files were received.

        Returns:
            Content hash of the bank.

        Raises:
            EngineError: a file cannot be read.
            BankError: the bank has another anchor of that name.
        """
        bank = self._held()[0]
        await done_in_own_thread(lambda: self._append(bank, names))
        return bank.content_hash

    def _append(self, bank: Bank, names: Sequence[str]) -> None:
        new: list[Anchor] = []
        for name in names:
            anchor = bank.stored_anchor(name, self._files[name], new)
            if anchor is None:
                raise EngineError(f"anchor {name!r} cannot be read from {self._files[name]}")
            new.append(anchor)
        bank.append(*new)

    async def set_aside(self, names: Sequence[str]) -> None:
        """Read anchors from their files whenever they are used, as the run does."""
        for name in names:
            self._held()[0].set_aside(name, self._files[name])

    async def load(self, payload: bytes) -> str:
        """Materialise an expert.

        Returns:
            Its identifier, by content.

        Raises:
            GenomeError: the genome does not fit the bank.
            EngineError: the engine cannot load it.
        """
        bank, engine = self._held()
        genome = Genome.from_bytes(payload)
        self._loaded = None
        async with engine.lease(genome):
            self._loaded = bank.genome_id(genome), genome
        return self._loaded[0]

    async def answer(self, genome_id: str, ask: Ask) -> list[Reply]:
        """Answer as the expert that is loaded; see `Lease.answer`.

        Raises:
            EngineError: another one is loaded, or as `Lease.answer`.
        """
        async with self._held()[1].lease(self._expert(genome_id)) as lease:
            return await lease.answer(ask)

    async def score(
        self, genome_id: str, prompts: Sequence[Chat], texts: Sequence[str]
    ) -> list[list[float]]:
        """Log-probabilities by the expert that is loaded; see `Lease.score`."""
        async with self._held()[1].lease(self._expert(genome_id)) as lease:
            return await lease.score(prompts, texts)

    async def close(self) -> None:
        """Let the engine go."""
        if self._engine is not None:
            await self._engine.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _expert(self, genome_id: str) -> Genome:
        if self._loaded is None or self._loaded[0] != genome_id:
            held = self._loaded[0] if self._loaded else "none"
            raise EngineError(f"expert {genome_id} was asked, and {held} is loaded")
        return self._loaded[1]

    def _held(self) -> tuple[Bank, Engine]:
        if self._bank is None or self._engine is None:
            raise EngineError("the worker holds no bank")
        return self._bank, self._engine
