"""Safetensors files written as their tensors come: header first, then one tensor after another.

The writers of safetensors and mergekit hold a whole shard in memory. Here names, shapes and dtype
are known before the first weight is made, so no more than one tensor is ever held.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from evolution.errors import ExportError

SHARD_BYTES = 5_000_000_000
"""Largest shard by default; a tensor that is larger has a file of its own."""

INDEX = "model.safetensors.index.json"
Shapes = Mapping[str, tuple[int, ...]]

_DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


def write_shards(
    folder: Path,
    shapes: Shapes,
    tensors: Iterable[tuple[str, Tensor]],
    dtype: torch.dtype,
    shard_bytes: int = SHARD_BYTES,
) -> int:
    """Write tensors into `model.safetensors`, or into shards with an index.

    Args:
        folder: that exists.
        shapes: tensor name -> shape, of all tensors, in the order in which they come.
        tensors: (name, tensor) in that order, on any device; each is let go before the next.
        dtype: of all of them.
        shard_bytes: largest file.

    Returns:
        Bytes of weights.

    Raises:
        ExportError: a tensor is not the one that was announced.
    """
    width = dtype.itemsize
    plan = _plan({name: width * math.prod(shape) for name, shape in shapes.items()}, shard_bytes)
    files = _file_names(len(plan))
    coming = iter(tensors)
    for file, names in zip(files, plan, strict=True):
        with (folder / file).open("wb") as out:
            out.write(_header({name: shapes[name] for name in names}, dtype))
            for name in names:
                _append(out, name, shapes[name], dtype, next(coming, None))
    if next(coming, None) is not None:
        raise ExportError("more tensors were given than announced")
    total = width * sum(math.prod(shape) for shape in shapes.values())
    if len(plan) > 1:
        _write_index(folder, files, plan, total)
    return total


def _plan(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names of the tensors of each shard, in order."""
    plan: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if plan[-1] and filled + size > limit:
            plan.append([])
            filled = 0
        plan[-1].append(name)
        filled += size
    return plan


def _file_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def _header(shapes: Shapes, dtype: torch.dtype) -> bytes:
    """Length and JSON of the header, padded so that the data begin at a multiple of 8."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in shapes.items():
        end = start + dtype.itemsize * math.prod(shape)
        entries[name] = {
            "dtype": _DTYPES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _append(
    out: BinaryIO,
    name: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    came: tuple[str, Tensor] | None,
) -> None:
    if came is None or came[0] != name or tuple(came[1].shape) != shape or came[1].dtype != dtype:
        found = "nothing" if came is None else f"{came[0]} {tuple(came[1].shape)} {came[1].dtype}"
        raise ExportError(f"expected tensor {name} {shape} {dtype}, got {found}")
    flat = came[1].detach().reshape(-1).contiguous().cpu()
    out.write(flat.view(torch.uint8).numpy().data)


def _write_index(
    folder: Path, files: Sequence[str], plan: Sequence[Sequence[str]], total: int
) -> None:
    weight_map = {name: file for file, names in zip(files, plan, strict=True) for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
