"""A lean LoRA: fp32 factors beside frozen bf16 weights, saved in the PEFT format.

PEFT's own layers convert every activation to fp32; on a CPU with bf16 matrix units that costs more
than the product itself. Here the factors are rounded to bf16 once per use and added by one fused
`addmm`, and the adapter that is written loads in PEFT like any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

RANK = 16
ALPHA = 32
SCALE = ALPHA / RANK
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """`x W^T + scale * x A^T B^T` with W frozen.

    Attributes:
        down: A, (RANK, inputs), float32.
        up: B, (outputs, RANK), float32, zero at the start.
    """

    def __init__(self, linear: nn.Linear, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        bound = math.sqrt(1 / linear.in_features)
        uniform = torch.rand(RANK, linear.in_features, generator=generator)
        self.down = nn.Parameter((2 * uniform - 1) * bound)
        self.up = nn.Parameter(torch.zeros(linear.out_features, RANK))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), in the dtype of W."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        dtype = self.linear.weight.dtype
        inner = rows @ self.down.to(dtype).T
        frozen = nn.functional.linear(rows, self.linear.weight)
        outputs = torch.addmm(frozen, inner, self.up.to(dtype).T, alpha=SCALE)
        return outputs.reshape(*inputs.shape[:-1], -1)


def attach(model: Any, seed: int) -> list[nn.Parameter]:
    """Freeze the model, put a LoRA on each linear layer, and return the trainable factors."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    trainable: list[nn.Parameter] = []
    for name, module in list(model.named_modules()):
        if name.rpartition(".")[2] in TARGETS and isinstance(module, nn.Linear):
            layer = LoraLinear(module, generator)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, layer)
            trainable += [layer.down, layer.up]
    return trainable


def _layers(model: Any) -> Iterator[tuple[str, LoraLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def save_adapter(model: Any, folder: Path, base_name: str) -> None:
    """Write `adapter_model.safetensors` (bf16) and `adapter_config.json`, readable by PEFT."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, layer in _layers(model):
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.down.detach().to(torch.bfloat16)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.up.detach().to(torch.bfloat16)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": list(TARGETS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_adapter(model: Any, folder: Path) -> None:
    """Fill the factors of a model with LoRA attached from a saved adapter."""
    tensors = load_file(folder / "adapter_model.safetensors")
    for name, layer in _layers(model):
        layer.down.data.copy_(tensors[f"{PREFIX}{name}.lora_A.weight"])
        layer.up.data.copy_(tensors[f"{PREFIX}{name}.lora_B.weight"])


def merge_adapter(model: Any, folder: Path) -> None:
    """Add a saved adapter to the plain model in place: summed in fp32, rounded once to bf16."""
    tensors = load_file(folder / "adapter_model.safetensors")
    suffix = ".lora_A.weight"
    for name in [key for key in tensors if key.endswith(suffix)]:
        stem = name.removesuffix(suffix)
        update = tensors[f"{stem}.lora_B.weight"].float() @ tensors[name].float()
        weight = model.get_submodule(stem.removeprefix(PREFIX)).weight
        weight.data = (weight.data.float() + SCALE * update).to(weight.dtype)
