"""Weights written as they come."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evolution.errors import ExportError
from evolution.exporting.shards import write_shards


def test_no_more_than_one_tensor_is_held(tmp_path: Path) -> None:
    held: list[weakref.ref[Tensor]] = []

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for index in range(6):
            assert sum(reference() is not None for reference in held) <= 1
            tensor = torch.full((100,), float(index), dtype=torch.bfloat16)
            held.append(weakref.ref(tensor))
            yield f"t{index}", tensor
            del tensor

    shapes = {f"t{index}": (100,) for index in range(6)}
    assert write_shards(tmp_path, shapes, tensors(), torch.bfloat16, 500) == 1200
    for file in tmp_path.glob("*.safetensors"):
        for name, tensor in load_file(file).items():
            assert tensor.tolist() == [float(name[1:])] * 100


def test_a_tensor_that_was_not_announced_is_refused(tmp_path: Path) -> None:
    wrong = [("a", torch.zeros(3, dtype=torch.bfloat16))]
    with pytest.raises(ExportError, match=r"expected tensor a \(2,\)"):
        write_shards(tmp_path, {"a": (2,)}, wrong, torch.bfloat16)
    with pytest.raises(ExportError, match="got nothing"):
        write_shards(tmp_path, {"a": (2,)}, [], torch.bfloat16)
    with pytest.raises(ExportError, match="more tensors"):
        write_shards(tmp_path, {}, wrong, torch.bfloat16)
