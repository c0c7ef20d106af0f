"""How many engines there are, and where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memory.settings import Settings


class ClusterSettings(Settings):
    """Workers in which experts answer side by side, each with an engine and a bank of its own."""

    kind: Literal["none", "local", "ray"] = Field(
        default="none",
        description="none: one engine, in the run's own process; local: processes of this machine, "
        "one for each GPU; ray: actors of a Ray cluster",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="How many; unset: as many as the GPUs have room for, without a GPU one (local) "
        "or one for each node (ray)",
    )
    gpus: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="GPUs of a worker, as in 0.5 for two on one; unset: 1 where there are GPUs and "
        "engine.device is not cpu, else 0",
    )
    cpus: float = Field(default=1.0, ge=0.0, description="ray: CPUs that are reserved for a worker")
    address: str | None = Field(
        default=None,
        description="ray: address of the cluster, as in auto or 10.0.0.1:6379; unset: "
        "$RAY_ADDRESS, or else a cluster of this machine that ends with the command",
    )
    chunk: int = Field(
        default=64, ge=1, description="Prompts that a worker is given at a time, at most"
    )
    start_deadline: float = Field(
        default=900.0, gt=0.0, description="Seconds until a worker has to be ready"
    )
    answer_deadline: float = Field(
        default=1800.0,
        gt=0.0,
        description="Seconds until a chunk has to be answered; then its worker is replaced",
    )
    reissue_after: float = Field(
        default=120.0,
        gt=0.0,
        description="Seconds after which a chunk is also given to a worker that is free; the first "
        "to answer counts",
    )
    heartbeat: float = Field(
        default=60.0,
        gt=0.0,
        description="Seconds within which a worker has to show that it lives, whatever it does",
    )
    restarts: int = Field(
        default=3,
        ge=0,
        description="How often in a row a worker is replaced that answers nothing in between",
    )
