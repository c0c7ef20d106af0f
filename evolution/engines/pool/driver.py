"""Ray's driver, in a process of its own: when Ray ends it, as with the cluster's head, a run lives.

Actors are `Host`s, each an engine and a bank; nothing passes between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from evolution.engines.pool.channel import Service
from evolution.engines.pool.host import Host
from evolution.errors import EngineError, WorkerLostError
from memory.messages import first_line

_OBJECT_STORE = 2**28
"""Bytes for anchors on their way, in a cluster of our own; larger ones go by way of the disk."""
_CALLS = 32
_CONNECT_ERRORS = (RayError, ConnectionError, OSError, RuntimeError, ValueError)


def _reason(error: Exception) -> str:
    """Why a connection failed, in a line; Ray's cause ends with a traceback of its last attempt."""
    lines = str(error.__cause__ or "").strip().splitlines()
    return lines[-1] if lines else first_line(error)


class Driver(Service):
    """Makes actors in a Ray cluster, and passes calls on to them."""

    def __init__(self) -> None:
        super().__init__()
        self._actors: dict[int, Any] = {}
        self._numbers = itertools.count()

    async def connect(self, address: str | None) -> dict[str, float]:
        """Connect to a cluster; without an address, make one of this machine.

        Returns:
            `CPU` and `GPU`, how many the cluster has, and `nodes`.

        Raises:
            EngineError: there is no cluster at that address.
        """
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        try:
            # Not in another thread: Ray's processes end with the one that has started them.
            ray.init(
                address=address or "local", namespace="acdc", **quiet, **({} if address else own)
            )
        except _CONNECT_ERRORS as error:
            raise EngineError(
                f"no Ray cluster answers at {address or 'this machine'}: {_reason(error)}"
            ) from error
        state: Any = ray  # of whose functions some are not annotated
        there = state.cluster_resources()
        nodes = sum(bool(node["Alive"]) for node in state.nodes())
        return {"CPU": there.get("CPU", 0.0), "GPU": there.get("GPU", 0.0), "nodes": nodes}

    async def create(self, number: int, cpus: float, gpus: float) -> None:
        """Make an actor, and wait until it has its place; the last one of that number ends.

        Args:
            number: by which it is called.
            cpus: that are reserved for it.
            gpus: likewise; it sees no others.
        """
        await self.end(number)
        self._actors[number] = (
            ray.remote(Host)
            .options(
                num_cpus=cpus,
                num_gpus=gpus,
                scheduling_strategy="SPREAD",
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=_CALLS,
            )
            .remote()
        )
        await self.call(number, "ping")

    async def call(self, number: int, method: str, *arguments: Any) -> Any:
        """Call a method of an actor; what it raises is raised here.

        Raises:
            WorkerLostError: there is no such actor any more.
        """
        actor = self._actors.get(number)
        if actor is None:
            raise WorkerLostError(f"actor {number} was ended")
        if method == "receive":
            # The actor may be where no folder is shared.
            name, path = arguments
            arguments = (name, await asyncio.to_thread(Path(path).read_bytes))
        called = next(self._numbers)
        try:
            value, error = await actor.perform.remote(called, method, *arguments)
        except asyncio.CancelledError:
            with contextlib.suppress(RayError):
                actor.cancel.remote(called)
            raise
        except RayActorError as lost:
            raise WorkerLostError(f"actor {number}: {first_line(lost)}") from lost
        except RayError as failed:
            raise EngineError(f"actor {number}: {first_line(failed)}") from failed
        if error is not None:
            raise error
        return value

    async def end(self, number: int) -> None:
        """End an actor at once, wherever it is."""
        actor = self._actors.pop(number, None)
        if actor is not None:
            with contextlib.suppress(RayError, ValueError):
                ray.kill(actor)

    async def close(self) -> None:
        """End all actors, and leave the cluster; one of our own ends."""
        for number in list(self._actors):
            await self.end(number)
        ray.shutdown()
