"""Anchors: the columns of the bank, read from adapters or from full checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from evolution.bank.adapters import read_adapter
from evolution.bank.cache import load_cached, save_cached
from evolution.bank.checkpoints import Checkpoint
from evolution.bank.fingerprint import tensors_hash
from evolution.bank.layout import Layout
from evolution.bank.task_vectors import Dense, LowRank, TaskVector, difference
from evolution.errors import BankError

_HASH, _ROOT = "content_hash", "root"

LeftFactors = Callable[[str], Mapping[str, Tensor] | None]
"""A root -> tensor name -> its left factors; None if there is no such root."""


@dataclass(frozen=True)
class Anchor:
    """A column of the bank.

    Attributes:
        vectors: tensor name -> task vector; tensors that are as in the base are left out.
        content_hash: of the checkpoint that it stands for.
        root: identifies the anchor or basis whose left factors it shares, as the merges of
            `evolution.merging.regmean` do; "" if all its factors are its own.
    """

    name: str
    content_hash: str
    vectors: Mapping[str, TaskVector]
    root: str = ""

    @property
    def held(self) -> Iterable[TaskVector]:
        """Task vectors that are in memory."""
        return () if isinstance(self.vectors, StoredVectors) else self.vectors.values()

    @property
    def left(self) -> str:
        """Anchors of equal `left` have the same left factors: their sum has the same rank."""
        return self.root or self.content_hash


def adapter_anchor(
    name: str, folder: Path, layout: Layout, device: torch.device, base_names: Sequence[str]
) -> Anchor:
    """The anchor of a LoRA adapter on the base, kept as factors.

    Raises:
        BankError: the adapter is damaged, or does not fit the base.
    """
    adapter = read_adapter(folder, f"{name} ({folder})", layout, base_names)
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


def save_anchor(anchor: Anchor, path: Path) -> None:
    """Keep an anchor as what it adds to the base, in one step and forced to disk.

    Left factors that it shares with its root are not kept a second time.
    """
    tensors = {_HASH: torch.tensor(bytearray.fromhex(anchor.content_hash))}
    if anchor.root:
        tensors[_ROOT] = torch.tensor(bytearray.fromhex(anchor.root))
    for name, vector in anchor.vectors.items():
        for part, held in vars(vector).items():
            if anchor.root and part == "up":
                continue
            # A scale is a Python number: float32 would make another expert of it.
            kept = held if isinstance(held, Tensor) else torch.tensor(held, dtype=torch.float64)
            tensors[f"{name}|{part}"] = kept.contiguous()
    save_cached(path, tensors)
    with path.open("rb") as stored:
        os.fsync(stored.fileno())


def load_anchor(name: str, path: Path, device: torch.device, left: LeftFactors) -> Anchor | None:
    """The anchor that `save_anchor` kept; None if it is missing or damaged, or its root is.

    Args:
        name: what it is called.
        path: of the file.
        device: where it is to be held.
        left: finds the left factors of its root.
    """
    stored = load_cached(path)
    if stored is None or _HASH not in stored:
        return None
    try:
        return _anchor(name, stored, device, left)
    except (TypeError, ValueError):  # other parts than those of an anchor
        return None


def _anchor(
    name: str, stored: dict[str, Tensor], device: torch.device, left: LeftFactors
) -> Anchor | None:
    content_hash = _hex(stored.pop(_HASH))
    root = _hex(stored.pop(_ROOT)) if _ROOT in stored else ""
    shared = left(root) if root else {}
    if shared is None:
        return None
    parts: dict[str, dict[str, Tensor]] = {}
    for key, held in sorted(stored.items()):
        tensor, _, part = key.rpartition("|")
        parts.setdefault(tensor, {})[part] = held
    if root and not parts.keys() <= shared.keys():
        return None
    vectors = {
        tensor: _vector(of_tensor, device, shared.get(tensor))
        for tensor, of_tensor in parts.items()
    }
    return Anchor(name, content_hash, vectors, root)


class StoredVectors(Mapping[str, TaskVector]):
    """Task vectors of an anchor that stay in its file, and are read each time they are used.

    Args:
        anchor: that `save_anchor` has kept.
        path: of the file.
        device: where they are wanted.

    Attributes:
        path: of the file.
    """

    def __init__(self, anchor: Anchor, path: Path, device: torch.device) -> None:
        vectors = anchor.vectors.items()
        self._shared = {n: v.up for n, v in vectors if isinstance(v, LowRank) and anchor.root}
        self._parts = {name: tuple(vars(vector)) for name, vector in anchor.vectors.items()}
        self.path = path
        self._device = device

    def __getitem__(self, name: str) -> TaskVector:
        wanted = [part for part in self._parts[name] if part != "up" or name not in self._shared]
        try:
            with safe_open(self.path, framework="pt") as stored:
                parts = {part: stored.get_tensor(f"{name}|{part}") for part in wanted}
        except (SafetensorError, OSError) as error:
            raise BankError(
                f"{self.path} is missing or damaged, and experts are made of it: restore it from "
                "a copy"
            ) from error
        return _vector(parts, self._device, self._shared.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _vector(parts: Mapping[str, Tensor], device: torch.device, up: Tensor | None) -> TaskVector:
    """A task vector of its parts, as they are kept; `up` is that of its root, if it has one."""
    read: dict[str, Any] = {
        part: held.item() if held.ndim == 0 else held.to(device) for part, held in parts.items()
    }
    if "scale" not in read:
        return Dense(**read)
    return LowRank(**(read if up is None else {"up": up, **read}))


def _hex(stored: Tensor) -> str:
    if stored.ndim != 1:
        raise ValueError("no hash")
    return bytes(stored.tolist()).hex()


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
