"""From settings to a pool that has started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evolution.bank.bank import Bank
from evolution.engines.pool.local import LocalLink, environments
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
