"""Workers that are processes of this machine, one for each device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from evolution.engines.pool.channel import Channel
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError, WorkerLostError
from memory.threads import usual_threads

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalLink:
    """The way to a host in a process of this machine.

    Args:
        environment: variables that it has besides those of the run.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._channel: Channel | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._channel.pid if self._channel is not None else None

    async def start(self) -> None:
        """Start the process."""
        await self.kill()
        self._channel = await Channel.open("host", self._environment)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host; see `Link.call`."""
        if self._channel is None:
            raise WorkerLostError("the worker's process was ended")
        return await self._channel.call(method, *arguments)

    async def close(self) -> None:
        """Let the host close, and end its process."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def kill(self) -> None:
        """End the process and its group."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.kill()


def visible_gpus() -> list[str]:
    """GPUs that PyTorch sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get(_VISIBLE, "").split(",") if name]
    return (named or [str(index) for index in range(count)])[:count]


def environments(engine: EngineSettings, cluster: ClusterSettings) -> list[dict[str, str]]:
    """What each worker's process sees, one for each worker.

    Raises:
        EngineError: there are fewer GPUs than the workers need, or the engine names one of them.
    """
    gpus = [] if engine.device == "cpu" else visible_gpus()
    share = cluster.gpus if cluster.gpus is not None else float(bool(gpus))
    if share and ":" in engine.device:
        raise EngineError(
            f"engine.device = {engine.device!r} names one GPU, and each worker has its own: set it "
            "to auto, or cluster.kind to none"
        )
    if not share:
        threads = {"OMP_NUM_THREADS": str(engine.threads)} if engine.threads else {}
        return [{**threads, _VISIBLE: ""}] * (cluster.workers or 1)
    room = int(len(gpus) / share + 1e-9)
    count = cluster.workers or room
    if not 0 < count <= room:
        raise EngineError(
            f"{count or 'no'} workers with {share:g} GPU each do not fit on {len(gpus)} GPUs: set "
            "cluster.workers or cluster.gpus lower"
        )
    return [{_VISIBLE: gpus[int(number * share + 1e-9)]} for number in range(count)]


def threads_of_worker(engine: EngineSettings, cluster: ClusterSettings) -> int | None:
    """CPU threads of each worker where `engine.threads` is not set: a fair share of what there is.

    Raises:
        EngineError: as `environments`.
    """
    if cluster.kind == "ray":
        return max(1, int(cluster.cpus))
    places = environments(engine, cluster)
    if places[0][_VISIBLE]:
        return None
    return max(1, usual_threads() // len(places))
