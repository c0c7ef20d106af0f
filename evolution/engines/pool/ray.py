"""Workers that are actors of a Ray cluster, reached through a driver process; see `driver`."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

from evolution.engines.pool.channel import Channel
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError, WorkerLostError

_ENDING_SECONDS = 15.0
_AGAIN_SECONDS = 5.0
"""A cluster that did not answer is not asked again by each worker in turn."""


class RayCluster:
    """The connection to a cluster, made anew when it was lost.

    Args:
        settings: address and deadlines.

    Attributes:
        resources: `CPU`, `GPU` and `nodes` of the cluster, once it is connected.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._failed: tuple[float, EngineError] | None = None
        self.resources: dict[str, float] = {}

    async def connect(self) -> Channel:
        """The way to the driver, which is connected.

        Raises:
            EngineError: no cluster answers, or Ray is not installed.
        """
        async with self._lock:
            if self._channel is not None and self._channel.alive:
                return self._channel
            await self._drop()
            now = asyncio.get_running_loop().time()
            if self._failed is not None and now < self._failed[0] + _AGAIN_SECONDS:
                raise EngineError(str(self._failed[1]))
            try:
                self._channel = await self._opened()
            except EngineError as error:
                self._failed = (asyncio.get_running_loop().time(), error)
                raise
            return self._channel

    async def close(self) -> None:
        """Leave the cluster, and end what was made in it."""
        async with self._lock:
            if self._channel is not None:
                await self._channel.close()
                self._channel = None

    async def lost(self) -> None:
        """End the driver: the cluster does not do what it is told."""
        async with self._lock:
            await self._drop()

    async def _drop(self) -> None:
        if self._channel is not None:
            await self._channel.kill()
            self._channel = None

    async def _opened(self) -> Channel:
        seconds = self._settings.start_deadline
        address = self._settings.address or os.environ.get("RAY_ADDRESS") or None
        channel = await Channel.open("ray", {})
        try:
            self.resources = await asyncio.wait_for(channel.call("connect", address), seconds)
        except TimeoutError:
            await channel.kill()
            raise EngineError(
                f"no Ray cluster answers at {address or 'this machine'} within {seconds:g} s"
            ) from None
        except BaseException:
            await channel.kill()
            raise
        return channel


class ActorLink:
    """The way to a host in an actor.

    Args:
        cluster: that it is in.
        number: of the actor.
        cpus: that are reserved for it.
        gpus: likewise.

    Attributes:
        needs: CPUs and GPUs.
    """

    def __init__(self, cluster: RayCluster, number: int, cpus: float, gpus: float) -> None:
        self._cluster = cluster
        self._number = number
        self.needs = (cpus, gpus)
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Make the actor, and wait until it has its place."""
        await self.kill()
        self._channel = await self._cluster.connect()
        await self._channel.call("create", self._number, *self.needs)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host; see `Link.call`."""
        if self._channel is None:
            raise WorkerLostError("the worker's actor was ended")
        return await self._channel.call("call", self._number, method, *arguments)

    async def close(self) -> None:
        """Let the host close, and end its actor."""
        if self._channel is not None:
            with suppress(EngineError, TimeoutError):
                await asyncio.wait_for(self.call("close"), _ENDING_SECONDS)
            await self.kill()

    async def kill(self) -> None:
        """End the actor."""
        if self._channel is None:
            return
        channel, self._channel = self._channel, None
        try:
            await asyncio.wait_for(channel.call("end", self._number), _ENDING_SECONDS)
        except TimeoutError:
            await self._cluster.lost()
        except WorkerLostError:
            pass  # together with the driver


def actor_links(
    cluster: RayCluster, engine: EngineSettings, settings: ClusterSettings
) -> list[ActorLink]:
    """One link for each worker, to a cluster that is connected.

    Raises:
        EngineError: the cluster has no room for them, and is one of our own, which does not grow.
    """
    there = cluster.resources
    share = settings.gpus
    if share is None:
        share = 1.0 if there["GPU"] and engine.device != "cpu" else 0.0
    room = there["GPU"] / share if share else there["nodes"]
    count = settings.workers or max(1, int(room + 1e-9))
    own = not (settings.address or os.environ.get("RAY_ADDRESS"))
    if own and (count * share > there["GPU"] or count * settings.cpus > there["CPU"]):
        raise EngineError(
            f"{count} workers with {settings.cpus:g} CPUs and {share:g} GPUs each do not fit into "
            f"{there['CPU']:g} CPUs and {there['GPU']:g} GPUs: set cluster.workers, cluster.cpus "
            "or cluster.gpus lower"
        )
    return [ActorLink(cluster, number, settings.cpus, share) for number in range(count)]
