"""From settings to a pool that has started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evolution.bank.bank import Bank
from evolution.engines.pool.local import LocalLink, environments, visible_gpus
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.ray import RayCluster, actor_links
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.pool.worker import AnchorFiles, Link, Worker
from evolution.engines.settings import EngineSettings
from memory.threads import usual_threads


async def open_pool(
    bank: Bank, engine: EngineSettings, cluster: ClusterSettings, anchors: Path | None = None
) -> Pool:
    """Start a pool of workers and wait until they are there.

    Args:
        bank: of the run, whose content all workers will hold.
        engine: what each of them starts.
        cluster: how many, and where.
        anchors: folder where the run keeps anchors by content hash.

    Raises:
        EngineError: no worker could be started, or they are not alike.
        BankError: a checkpoint is missing where the workers are, or does not fit.
    """
    if engine.threads is None:
        # Of this process, whatever a worker's own would be: replies may depend on them.
        engine = engine.model_copy(update={"threads": usual_threads()})
    files, ray = AnchorFiles(anchors), RayCluster(cluster)

    async def close() -> None:
        await ray.close()
        files.close()

    try:
        links = await _links(engine, cluster, ray)
    except BaseException:
        await close()
        raise
    workers = [
        Worker(f"worker {number}", link, bank, files, engine, cluster)
        for number, link in enumerate(links, 1)
    ]
    pool = Pool(workers, cluster, close)
    await pool.start()
    return pool


async def _links(
    engine: EngineSettings, cluster: ClusterSettings, ray: RayCluster
) -> Sequence[Link]:
    if cluster.kind == "ray":
        await ray.connect()
        return actor_links(ray, engine, cluster)
    return [LocalLink(each) for each in environments(engine.settled(), cluster)]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the workers of a pool would be.

    Attributes:
        workers: how many.
        there: what there is for all of them, by name.
        fits: whether it is enough.
    """

    workers: int
    there: dict[str, float]
    fits: bool


async def survey(engine: EngineSettings, cluster: ClusterSettings) -> Places:
    """Look where the workers of a pool would be; none is started.

    Raises:
        EngineError: there is no such cluster, or no room in it, or the engine is not installed.
    """
    if cluster.kind == "local":
        workers = len(environments(engine.settled(), cluster))
        there = {"GPUs": float(len(visible_gpus())), "CPUs": float(os.cpu_count() or 1)}
        return Places(workers, there, fits=True)
    ray = RayCluster(cluster)
    try:
        await ray.connect()
        links = actor_links(ray, engine, cluster)
        cpus, gpus = (sum(link.needs[part] for link in links) for part in (0, 1))
        there = {"nodes": ray.resources["nodes"]}
        there |= {"GPUs": ray.resources["GPU"], "CPUs": ray.resources["CPU"]}
        return Places(len(links), there, cpus <= there["CPUs"] and gpus <= there["GPUs"])
    finally:
        await ray.close()
