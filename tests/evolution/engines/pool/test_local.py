"""Workers that are real processes of this machine, killed and stopped while they answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.engines.base import Ask
from evolution.engines.pool import local
from evolution.engines.pool.local import LocalLink, environments, threads_of_worker
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import BankError, EngineError, WorkerLostError
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of
from tests.evolution.engines.engine_cases import questions
from tests.evolution.engines.pool.pool_cases import (
    LONG,
    all_busy,
    everything,
    pool_of,
    workers_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = ClusterSettings(kind="local", chunk=4, heartbeat=3.0)


@pytest.fixture(scope="module")
def links() -> list[LocalLink]:
    return [LocalLink({}), LocalLink({})]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(bank: Bank, links: list[LocalLink]) -> AsyncIterator[Pool]:
    async with pool_of(links, bank, SETTINGS) as pool:
        yield pool


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
async def test_a_worker_that_ends_or_hangs_in_a_batch_is_replaced_and_nothing_is_lost(
    pool: Pool, bank: Bank, links: list[LocalLink], said: list[list[str]], how: signal.Signals
) -> None:
    asking = asyncio.create_task(everything(pool, bank))
    await asyncio.wait_for(all_busy(pool), 60)
    pid = links[0].pid
    assert pid is not None
    os.kill(pid, how)
    assert await asyncio.wait_for(asking, 120) == said
    while links[0].pid in (None, pid):
        await asyncio.sleep(0.1)
    assert await asyncio.wait_for(everything(pool, bank), 120) == said
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_deadline_ends_a_worker(bank: Bank, pool: Pool, links: list[LocalLink]) -> None:
    """Seen through a second handle on a process of the pool, which replaces it afterwards."""
    hurried = SETTINGS.model_copy(update={"answer_deadline": 0.3})
    worker, _ = workers_of(links, bank, hurried)
    with pytest.raises(WorkerLostError, match=r"within 0\.3 s, and was ended"):
        async with worker.lease(bank.base_genome()) as lease:
            await lease.answer(Ask(questions(60), LONG, range(60)))
    assert links[0].pid is None
    with pytest.raises(WorkerLostError):
        async with worker.lease(bank.seed_genome("alpha")):
            pass


async def test_a_worker_with_another_bank_is_refused(
    tiny_family: TinyFamily, bank: Bank, tmp_path: Path
) -> None:
    """A seed that changes on disk while a run goes on."""
    moved = tmp_path / "alpha"
    moved.mkdir()
    for file in tiny_family.seeds["alpha"].iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    family = TinyFamily(tiny_family.base, {"alpha": moved})
    ours = load_bank(models_of(family), SpectralSettings(rank=4), tmp_path / "cache")
    for file in tiny_family.seeds["beta"].iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    [worker] = workers_of([LocalLink({})], ours, SETTINGS)
    with pytest.raises(EngineError, match="different bank"):
        await worker.start()
    for file in moved.iterdir():
        file.unlink()
    with pytest.raises(BankError, match="alpha"):
        await worker.start()


async def test_devices_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ["3", "5"])
    auto, cpu = EngineSettings(), EngineSettings(device="cpu")

    def seen(engine: EngineSettings, **settings: float) -> list[str]:
        cluster = ClusterSettings.model_validate({"kind": "local", **settings})
        return [each["CUDA_VISIBLE_DEVICES"] for each in environments(engine, cluster)]

    assert seen(auto) == ["3", "5"]
    assert seen(auto, gpus=0.5) == ["3", "3", "5", "5"]
    assert seen(auto, workers=1) == ["3"]
    assert seen(cpu, workers=3) == ["", "", ""]
    with pytest.raises(EngineError, match="do not fit on 2 GPUs"):
        seen(auto, workers=3)
    with pytest.raises(EngineError, match="names one GPU"):
        seen(EngineSettings(device="cuda:1"))
    many = ClusterSettings(kind="local", workers=1000)
    assert threads_of_worker(cpu, many) == 1
    assert threads_of_worker(auto, ClusterSettings(kind="local")) is None
