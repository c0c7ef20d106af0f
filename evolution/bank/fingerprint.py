"""Content hashes of tensors: the same weights give the same hash, however they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def tensors_hash(tensors: Iterable[tuple[str, Tensor]], stride: int = 1) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order given; 32 hexadecimal digits.

    Args:
        tensors: (name, tensor) pairs on any device.
        stride: take every `stride`-th element only. A prime of about 100 still tells apart
            any two experts, at a hundredth of the cost.
    """
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().reshape(-1)
        if stride > 1:
            flat = flat[torch.arange(0, len(flat), stride, device=flat.device)]
        flat = flat.cpu()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]
