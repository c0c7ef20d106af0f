"""Real workers beside simulated ones: how far is the simulator off?

Each worker is a process of this machine as `cluster.kind = "local"` starts it, with a bank of its
own, driven by the same pool. Its engine sleeps instead of computing (`benchmarks.scale_worker`), so
that four workers can share two cores; queue, channel, swaps, chunks and stragglers are real.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from transformers import LlamaConfig

from benchmarks.reporting import show_progress
from benchmarks.scale_costs import Costs, Workload
from benchmarks.scale_run import Scenario, run
from benchmarks.scale_worker import SWAP
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.engines.base import Ask, Lease
from evolution.engines.pool import channel
from evolution.engines.pool.local import LocalLink
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.pool.worker import AnchorFiles, Worker
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from memory.records import ChatMessage, Sampling
from tests.conftest import make_family

COSTS = Costs(
    swap=SWAP, start=0.0, step=0.02, token=0.0005, read=0.0001, straggling=0.0, failing=0.0,
    answer=0.0, breed=0.0, admit=0.0, select=0.0, score=0.0, gates=0.0, draw=0.0, call=0.0,
)  # fmt: skip
"""About 1.4 s a chunk; everything but the engines takes no time."""
WORK = Workload(children=4, families=24, instances=2, prompt=40, max_tokens=64)
CLUSTER = ClusterSettings(kind="local", chunk=32, reissue_after=4.0)
SIMULATED = 20
"""Simulations of each case, whose mean is compared: chunks are drawn anew in each."""


@dataclass(frozen=True)
class Case:
    """What is compared."""

    name: str
    workers: int
    costs: Costs = COSTS
    work: Workload = WORK

    def scenario(self, seed: int) -> Scenario:
        return Scenario(self.workers, self.costs, self.work, CLUSTER, generations=1, seed=seed)


CASES = (
    Case("one worker", 1),
    Case("two workers", 2),
    Case("four workers", 4),
    Case("four, one chunk in ten takes 10 x", 4, replace(COSTS, straggling=0.1)),
    Case("four, one expert each", 4, work=replace(WORK, children=1, instances=8)),
)


def compared(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each case."""
    with tempfile.TemporaryDirectory(prefix="acdc-scale-") as scratch:
        bank = _bank(Path(scratch))
        # The program of a worker's process.
        with mock.patch.object(channel, "_PROGRAM", "benchmarks.scale_worker"):
            return asyncio.run(_rows(bank, CASES[:1] if quick else CASES))


async def _rows(bank: Bank, cases: Sequence[Case]) -> list[dict[str, Any]]:
    async with _started(bank, max(case.workers for case in cases)) as workers:
        return [await _row(case, number, bank, workers) for number, case in enumerate(cases)]


async def _row(case: Case, number: int, bank: Bank, workers: Sequence[_Started]) -> dict[str, Any]:
    # In a thread: it has an event loop of its own.
    found = await asyncio.to_thread(
        lambda: [run(case.scenario(seed)).phases["judge"] for seed in range(SIMULATED)]
    )
    simulated = float(np.mean(found))
    experts = _experts(bank, number, case.workers * case.work.children)
    real = await _real_seconds(case, bank, workers[: case.workers], experts)
    show_progress(f"{case.name}: {real:.2f} s, simulated {simulated:.2f} s")
    return {
        "name": case.name,
        "workers": case.workers,
        "real": round(real, 2),
        "simulated": round(simulated, 2),
        "spread": round(float(np.std(found)), 2),
        "off": round(simulated / real - 1, 3),
    }


async def _real_seconds(
    case: Case, bank: Bank, workers: Sequence[_Started], experts: Sequence[Genome]
) -> float:
    pool = Pool(workers, CLUSTER)
    await pool.start()
    try:
        begun = time.perf_counter()
        await asyncio.gather(*(_ask(pool, bank, each, case) for each in experts))
        return time.perf_counter() - begun
    finally:
        await pool.close()


async def _ask(pool: Pool, bank: Bank, expert: Genome, case: Case) -> None:
    said = json.dumps({"costs": asdict(case.costs), "work": asdict(case.work)})
    chats = [[ChatMessage(role="user", content=said)]] * case.work.prompts
    await pool.answer(bank.genome_id(expert), expert, Ask(chats, Sampling()))


class _Started:
    """A worker whose process is there already, for one pool after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.name, self.profile = worker.name, worker.profile

    async def start(self) -> None:
        pass

    def lease(self, genome: Genome) -> AbstractAsyncContextManager[Lease]:
        return self._worker.lease(genome)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def _started(bank: Bank, count: int) -> AsyncIterator[list[_Started]]:
    files, engine = AnchorFiles(), EngineSettings(device="cpu", threads=1)
    links = [LocalLink({"CUDA_VISIBLE_DEVICES": ""}) for _ in range(count)]
    workers = [
        Worker(f"worker {number}", link, bank, files, engine, CLUSTER)
        for number, link in enumerate(links)
    ]
    try:
        await asyncio.gather(*(worker.start() for worker in workers))
        yield [_Started(worker) for worker in workers]
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))
        files.close()


def _experts(bank: Bank, case: int, count: int) -> list[Genome]:
    """Others in each case, so that all of them have to be loaded."""
    rng, shape = np.random.default_rng(case), bank.base_genome().coefficients.shape
    return [Genome(rng.random(shape).astype(np.float32)) for _ in range(count)]


def _bank(place: Path) -> Bank:
    family = make_family(place / "models", LlamaConfig, tied=True)
    seeds = tuple(SeedSettings(name=name, path=str(path)) for name, path in family.seeds.items())
    models = ModelSettings(base=str(family.base), seeds=seeds)
    return load_bank(models, SpectralSettings(rank=4), place / "cache")
