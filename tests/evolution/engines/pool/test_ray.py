"""Workers that are actors of a real Ray cluster on this machine, killed while they answer."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psutil
import pytest
import pytest_asyncio

from evolution.bank.bank import Bank
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.ray import RayCluster, actor_links
from evolution.engines.pool.settings import ClusterSettings
from evolution.errors import EngineError, NoWorkerError
from tests.evolution.engines.pool.pool_cases import ENGINE, all_busy, everything, pool_of

pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[ray]"')
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

ACTORS = 3
SETTINGS = ClusterSettings(kind="ray", workers=ACTORS, cpus=0.1, chunk=4, start_deadline=120.0)


@asynccontextmanager
async def actors_of(
    cluster: RayCluster, bank: Bank, settings: ClusterSettings
) -> AsyncIterator[Pool]:
    try:
        await cluster.connect()
        async with pool_of(actor_links(cluster, ENGINE, settings), bank, settings) as pool:
            yield pool
    finally:
        await cluster.close()


@pytest.fixture(scope="module", autouse=True)
def _settings_of_ray() -> Iterator[None]:
    """A token from the environment, and few attempts at a cluster that is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_NUM_REDIS_GET_RETRIES", "1")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield


@pytest.fixture(scope="module")
def cluster() -> RayCluster:
    return RayCluster(SETTINGS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(cluster: RayCluster, bank: Bank) -> AsyncIterator[Pool]:
    async with actors_of(cluster, bank, SETTINGS) as pool:
        yield pool


async def driver_of(cluster: RayCluster) -> psutil.Process:
    return psutil.Process((await cluster.connect()).pid)


def actors_below(process: psutil.Process) -> list[psutil.Process]:
    """Processes of actors, which Ray names after the class."""
    return [
        each for each in process.children(recursive=True) if _title(each).startswith("ray::Host")
    ]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


async def test_an_actor_that_is_killed_in_a_batch_is_replaced_and_nothing_is_lost(
    cluster: RayCluster, pool: Pool, bank: Bank, said: list[list[str]]
) -> None:
    driver = await driver_of(cluster)
    first = {each.pid for each in actors_below(driver)}
    assert len(first) == ACTORS
    asking = asyncio.create_task(everything(pool, bank))
    await asyncio.wait_for(all_busy(pool), 60)
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    assert await asyncio.wait_for(asking, 120) == said
    while len(actors_below(driver)) < ACTORS:
        await asyncio.sleep(0.1)
    there = {each.pid for each in actors_below(driver)}
    assert first - there == {victim}, "the others are as they were"
    assert await asyncio.wait_for(everything(pool, bank), 120) == said


async def test_a_driver_that_is_killed_in_a_batch_is_replaced_with_its_cluster(
    cluster: RayCluster, pool: Pool, bank: Bank, said: list[list[str]]
) -> None:
    driver = await driver_of(cluster)
    below = driver.children(recursive=True)
    asking = asyncio.create_task(everything(pool, bank))
    await asyncio.wait_for(all_busy(pool), 60)
    driver.kill()
    assert await asyncio.wait_for(asking, 240) == said
    _, alive = await asyncio.to_thread(psutil.wait_procs, below, 60)
    assert alive == [], "what belongs to a lost driver ends"


HEAD = """
import sys
import ray

found = ray.init(
    "local", include_dashboard=False, num_cpus=1, object_store_memory=2**27, log_to_driver=False
)
print(found.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def head() -> Iterator[tuple[str, psutil.Process]]:
    """The address of a cluster of somebody else's, and the process that it hangs on."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), psutil.Process(process.pid)
    finally:
        process.communicate()


async def test_a_head_that_is_killed_in_a_batch_ends_the_pool_with_one_line(
    head: tuple[str, psutil.Process], bank: Bank
) -> None:
    address, process = head
    settings = SETTINGS.model_copy(update={"address": address, "workers": 1, "restarts": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        with pytest.raises(EngineError, match="InvalidAuthToken"):
            await RayCluster(settings).connect()
    cluster = RayCluster(settings)
    async with actors_of(cluster, bank, settings) as pool:
        asking = asyncio.create_task(everything(pool, bank))
        await asyncio.wait_for(all_busy(pool), 60)
        for each in [process, *process.children(recursive=True)]:
            each.kill()
        with pytest.raises(NoWorkerError, match=r"all workers are lost .*run the same command"):
            await asyncio.wait_for(asking, 240)
        with pytest.raises(EngineError, match="no Ray cluster answers at"):
            await cluster.connect()
