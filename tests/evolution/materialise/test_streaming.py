from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evolution.bank.bank import Bank
from evolution.breeding.mutation import spectral
from evolution.genome.genome import Genome
from evolution.materialise.streaming import moved, page_lock
from evolution.materialise.sums import Piece
from evolution.materialise.weights import checksum, expected_checksum, materialise


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees of each copy to another device whether it is waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waited: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            self.waited.append(not given.get("non_blocking", False))
        if given.get("device") == torch.device("cpu"):
            return torch.zeros_like(args[0], device="cpu")  # nothing can be read from "meta"
        return func(*args, **given)


@pytest.mark.parametrize(("here", "there"), [("meta", "cpu"), ("cpu", "meta")])
def test_what_comes_to_the_host_is_waited_for(here: str, there: str) -> None:
    """Else the CPU would sum what the GPU has not sent yet."""
    numbers = torch.zeros(6, device=here)
    index = torch.zeros(2, dtype=torch.int64, device=here)
    factor = torch.zeros(2, 3, device=here)
    residual = (0.5, index, numbers[:2])
    piece = Piece(numbers, numbers, (0.5,), (numbers,), (residual,), factor.T, factor)
    with Copies() as copies:
        arrived = moved(piece, torch.device(there))
    assert arrived.base.device.type == there
    assert copies.waited == [there == "cpu"] * 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_streamed_bank_writes_what_it_is_expected_to(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    plain = Genome(rng.uniform(-0.5, 1.2, (len(bank.blocks), len(bank.anchors))))
    mutated = spectral(plain, bank.geometry, rng, strength=0.05)[0]
    page_lock(bank)
    model = bank.model().to("cuda")
    for genome in (plain, mutated, plain):
        materialise(bank, genome, model)
        assert checksum(model) == expected_checksum(bank, genome, device=torch.device("cuda"))
