"""The population at work: bank, engine and broker, loaded once and on first need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines import Broker, Engine, open_engine
from evolution.engines.pool import ClusterSettings
from evolution.engines.pool.opening import open_pool
from evolution.engines.pool.pool import Pool
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.merging.merges import add_merges
from evolution.planning.merging import Occasions
from evolution.planning.placement import load_placed_bank
from evolution.stages import Stages, no_stages
from memory.threads import done_in_own_thread, return_freed_memory

_DECODED = 512
"""Genomes that are kept decoded: more than a generation asks for again and again."""


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
        cluster: workers that answer side by side; by default one engine of this process does.
        anchors: folder where the run keeps anchors by content hash.
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
        cluster: ClusterSettings | None = None,
        anchors: Path | None = None,
    ) -> None:
        self._models = models
        self._spectral = spectral
        self._engine_settings = engine
        self._cache = cache
        self._open_engine = open_with
        self._extend = extend
        self._stages = stages
        self._occasions = occasions
        self._cluster = cluster or ClusterSettings()
        self._anchors = anchors
        self._lock = asyncio.Lock()
        self._bank: Bank | None = None
        self._broker: Broker | Pool | None = None
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
        if self._cluster.kind == "none":
            bank = load_placed_bank(
                self._models,
                self._spectral,
                self._engine_settings,
                self._cache,
                self._stages,
                self._occasions,
            )
        else:
            # Devices are for the workers, each of which has a bank of its own.
            bank = load_bank(self._models, self._spectral, self._cache, stages=self._stages)
        add_merges(bank, self._models.merges, self._cache)
        if self._extend is not None:
            self._extend(bank)
        return bank

    async def broker(self) -> Broker | Pool:
        """The broker in front of the engine, or the pool of workers, opened on the first call."""
        bank = await self.bank()
        async with self._lock:
            if self._broker is None:
                self._broker = await self._opened(bank)
                self._stages("done", 0, 0)
            return self._broker

    async def _opened(self, bank: Bank) -> Broker | Pool:
        settings, cluster = self._engine_settings, self._cluster
        if cluster.kind == "none":
            self._stages(f"{settings.kind} engine", 0, 0)
            return Broker(await done_in_own_thread(lambda: self._open_engine(bank, settings)))
        self._stages(f"{settings.kind} engines ({cluster.kind})", 0, 0)
        return await open_pool(bank, settings, cluster, self._anchors)

    def decode(self, genome_id: str, payload: bytes) -> Genome:
        """The genome behind a stored payload, decoded and held against the bank.

        Those that were asked for last are kept, and not decoded again.

        Raises:
            GenomeError: the payload is damaged, or not what the identifier stands for. Where the
                bank is not loaded yet, loading it tells the latter.
        """
        genome = self._genomes.pop(genome_id, None)
        if genome is None:
            genome = Genome.stored(genome_id, payload)
            if self._bank is not None:
                self._bank.check_genome(genome_id, genome)
        self._genomes[genome_id] = genome
        if len(self._genomes) > _DECODED:
            del self._genomes[next(iter(self._genomes))]
        return genome

    async def close(self) -> None:
        """Let engine and bank go; what waits in the broker is answered first."""
        if self._broker is not None:
            await self._broker.close()
        self._broker = self._bank = None
        return_freed_memory()
