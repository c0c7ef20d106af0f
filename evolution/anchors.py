"""Anchors: the columns of the bank, read from adapters or from full checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from evolution.adapters import read_adapter
from evolution.checkpoints import Checkpoint
from evolution.fingerprint import tensors_hash
from evolution.layout import Layout
from evolution.task_vectors import Dense, LowRank, TaskVector, difference


@dataclass(frozen=True)
class Anchor:
    """A column of the bank.

    Attributes:
        vectors: tensor name -> task vector; tensors that are as in the base are left out.
        content_hash: of the checkpoint that it stands for.
    """

    name: str
    content_hash: str
    vectors: Mapping[str, TaskVector]


def adapter_anchor(name: str, folder: Path, layout: Layout, device: torch.device) -> Anchor:
    """The anchor of a LoRA adapter on the base, kept as factors.

    Raises:
        BankError: the adapter is damaged, or does not fit the base.
    """
    adapter = read_adapter(folder, f"{name} ({folder})", layout)
    vectors = {key: vector.to(device) for key, vector in adapter.vectors.items()}
    return Anchor(name, adapter.content_hash, vectors)


def full_anchor(name: str, checkpoint: Checkpoint, base: Mapping[str, Tensor]) -> Anchor:
    """The anchor of a full checkpoint, kept as a difference from the base.

    Raises:
        CheckpointError: a tensor cannot be read.
    """
    vectors: dict[str, Dense] = {}

    def tensors() -> Iterator[tuple[str, Tensor]]:
        """Each tensor is read once, for the hash and for the difference."""
        for key, origin in base.items():
            tensor = checkpoint.tensor(key, origin.dtype)
            vector = difference(tensor.to(origin.device), origin)
            if vector is not None:
                vectors[key] = vector
            yield key, tensor

    return Anchor(name, tensors_hash(tensors()), vectors)


def base_tensors(
    checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """The weights of a configured base."""
    return {name: checkpoint.tensor(name, dtype).to(device) for name in checkpoint.layout.shapes}


def mean_tensors(
    checkpoints: Sequence[Checkpoint], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """The base where none is configured: the mean of the seeds, summed in float32."""
    means: dict[str, Tensor] = {}
    for name in checkpoints[0].layout.shapes:
        total = checkpoints[0].tensor(name, torch.float32).clone()
        for checkpoint in checkpoints[1:]:
            total += checkpoint.tensor(name, torch.float32)
        means[name] = (total / len(checkpoints)).to(dtype).to(device)
    return means


def save_anchor(anchor: Anchor, path: Path) -> None:
    """Write an anchor as one file, for a worker that holds the same bank."""
    tensors: dict[str, Tensor] = {}
    scales: dict[str, float] = {}
    for name, vector in anchor.vectors.items():
        if isinstance(vector, LowRank):
            scales[name] = vector.scale
        parts = {part: held for part, held in vars(vector).items() if isinstance(held, Tensor)}
        tensors |= {f"{part}:{name}": held.contiguous() for part, held in parts.items()}
    head = {"name": anchor.name, "content_hash": anchor.content_hash, "scales": scales}
    save_file(tensors, path, metadata={"anchor": json.dumps(head)})


def load_anchor(path: Path, device: torch.device) -> Anchor:
    """Read what `save_anchor` wrote."""
    with safe_open(path, framework="pt") as file:
        head = json.loads(file.metadata()["anchor"])
        parts: dict[str, dict[str, Tensor]] = {}
        for key in file.keys():  # noqa: SIM118
            part, _, name = key.partition(":")
            parts.setdefault(name, {})[part] = file.get_tensor(key).to(device)
    scales = head["scales"]
    vectors: dict[str, TaskVector] = {
        name: LowRank(**held, scale=scales[name]) if name in scales else Dense(**held)
        for name, held in parts.items()
    }
    return Anchor(head["name"], head["content_hash"], vectors)
