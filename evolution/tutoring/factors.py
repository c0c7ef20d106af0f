"""Low-rank factors beside the frozen matrices of a model (LoRA, Hu et al. 2021, 2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evolution.bank.task_vectors import LowRank

SCALE = 2.0
"""`alpha / rank`: what factors are multiplied by."""


@dataclass(frozen=True)
class Factors:
    """Trainable factors of one matrix: `SCALE * up @ down` is added to it.

    Attributes:
        down: (rank, inputs) float32, uniform at the start, as in PEFT.
        up: (outputs, rank) float32, zero at the start.
    """

    down: nn.Parameter
    up: nn.Parameter

    def __iter__(self) -> Iterator[nn.Parameter]:
        return iter((self.down, self.up))

    def added_to(self, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """What a matrix gives with them, in its own number format; a forward hook of torch."""
        inner = nn.functional.linear(given[0], self.down.to(output.dtype))
        return output + SCALE * nn.functional.linear(inner, self.up.to(output.dtype))

    def vector(self, device: torch.device) -> LowRank:
        """The task vector that they are."""
        down, up = self.down.detach().to(device), self.up.detach().to(device)
        return LowRank(up.contiguous(), down.contiguous(), SCALE)


def attach(
    model: Any, matrices: tuple[str, ...], rank: int, seed: int, device: torch.device
) -> dict[str, Factors]:
    """Put factors beside the linear modules among some matrices of a model.

    Args:
        model: of transformers, frozen.
        matrices: names of weights.
        rank: of the factors; of a smaller matrix its own.
        seed: of what they begin with, which is the same on all devices.
        device: of the model.

    Returns:
        Name of the weight -> its factors.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Factors] = {}
    for name in matrices:
        module = model.get_submodule(name.rpartition(".")[0])
        if not isinstance(module, nn.Linear):
            continue
        inputs, outputs = module.in_features, module.out_features
        size = min(rank, inputs, outputs)
        down = 2 * torch.rand(size, inputs, generator=generator) - 1
        factors = Factors(
            nn.Parameter((down / math.sqrt(inputs)).to(device)),
            nn.Parameter(torch.zeros(outputs, size, device=device)),
        )
        hook: Callable[..., Tensor] = factors.added_to
        module.register_forward_hook(hook)
        found[name] = factors
    return found
