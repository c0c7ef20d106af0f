"""The population at work: bank, engine and broker, loaded once and on first need."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from evolution.bank.bank import Bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines import Broker, Engine, open_engine
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.merging.merges import add_merges
from evolution.planning.merging import Occasions
from evolution.planning.placement import load_placed_bank
from evolution.stages import Stages, no_stages
from memory.threads import done_in_own_thread


class Population:
    """Owns the bank and the engine in which experts answer.

    Loading takes seconds to minutes, so it happens on first use, in a thread, and once: founding
    and the first trials may ask for it at the same time.

    Args:
        models: base and seeds.
        spectral: recipe of the spectral basis.
        engine: where experts answer.
        cache: folder for what is cached by content across runs.
        extend: appends what a run has grafted onto the bank, once it is loaded.
        stages: called, from another thread, with the progress of loading.
        occasions: of merges, for whose anchors a bank on a GPU leaves room.
    """

    def __init__(
        self,
        models: ModelSettings,
        spectral: SpectralSettings,
        engine: EngineSettings,
        cache: Path,
        open_with: Callable[[Bank, EngineSettings], Engine] = open_engine,
        extend: Callable[[Bank], None] | None = None,
        stages: Stages = no_stages,
        occasions: Occasions | None = None,
    ) -> None:
        self._models = models
        self._spectral = spectral
        self._engine_settings = engine
        self._cache = cache
        self._open_engine = open_with
        self._extend = extend
        self._stages = stages
        self._occasions = occasions
        self._lock = asyncio.Lock()
        self._bank: Bank | None = None
        self._broker: Broker | None = None
        self._genomes: dict[str, Genome] = {}

    async def bank(self) -> Bank:
        """The bank, loaded on the first call.

        Raises:
            BankError: a checkpoint is missing, corrupt or of another architecture.
            GenomeError: a genome that was decoded before is not that of its identifier.
        """
        async with self._lock:
            if self._bank is None:
                self._bank = await done_in_own_thread(self._load)
                for genome_id, genome in self._genomes.items():
                    self._bank.check_genome(genome_id, genome)
            return self._bank

    def _load(self) -> Bank:
        bank = load_placed_bank(
            self._models,
            self._spectral,
            self._engine_settings,
            self._cache,
            self._stages,
            self._occasions,
        )
        add_merges(bank, self._models.merges, self._cache)
        if self._extend is not None:
            self._extend(bank)
        return bank

    async def broker(self) -> Broker:
        """The broker in front of the engine, opened on the first call."""
        bank = await self.bank()
        async with self._lock:
            if self._broker is None:
                self._stages(f"{self._engine_settings.kind} engine", 0, 0)
                engine = await done_in_own_thread(
                    lambda: self._open_engine(bank, self._engine_settings)
                )
                self._broker = Broker(engine)
                self._stages("done", 0, 0)
            return self._broker

    def decode(self, genome_id: str, payload: bytes) -> Genome:
        """The genome behind a stored payload; each is decoded once, and held against the bank.

        Raises:
            GenomeError: the payload is damaged, or not what the identifier stands for. Where the
                bank is not loaded yet, loading it tells the latter.
        """
        if genome_id not in self._genomes:
            genome = Genome.stored(genome_id, payload)
            if self._bank is not None:
                self._bank.check_genome(genome_id, genome)
            self._genomes[genome_id] = genome
        return self._genomes[genome_id]

    async def close(self) -> None:
        """Let engine and bank go; what waits in the broker is answered first."""
        if self._broker is not None:
            await self._broker.close()
        self._broker = self._bank = None
        _return_freed_memory()


def _return_freed_memory() -> None:
    """Give freed memory back to the system.

    glibc keeps it for the process, so that one that makes several runs would hold the weights of
    all of them (1.4 GiB a run on the quickstart's model).
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
