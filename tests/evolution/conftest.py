"""Banks of tiny real models, and the pieces to make more of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

RANK, ALPHA = 4, 8
TARGETS = {
    "self_attn.q_proj": (64, 64),
    "self_attn.v_proj": (32, 64),
    "mlp.down_proj": (64, 128),
}


def models_of(family: TinyFamily, *adapters: Path, base: bool = True) -> ModelSettings:
    """Settings of a tiny family: its full seeds, then adapters named after their folders."""
    folders = {**family.seeds, **{adapter.name: adapter for adapter in adapters}}
    return ModelSettings(
        base=str(family.base) if base else None,
        seeds=tuple(SeedSettings(name=name, path=str(path)) for name, path in folders.items()),
    )


def write_adapter(folder: Path, seed: int = 0, size: float = 0.1) -> Path:
    """A LoRA adapter for the tiny models, in PEFT's format."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for layer in range(2):
        for target, (rows, columns) in TARGETS.items():
            key = f"base_model.model.model.layers.{layer}.{target}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, columns, generator=generator)
            tensors[f"{key}.lora_B.weight"] = size * torch.randn(rows, RANK, generator=generator)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": sorted({target.rpartition(".")[2] for target in TARGETS}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapters") / "delta")


@pytest.fixture(scope="session")
def new_bank(tiny_family: TinyFamily, adapter: Path, cache: Path) -> Callable[[], Bank]:
    """Loads a bank of its own: base, three full seeds and an adapter, rank 16."""
    return lambda: load_bank(models_of(tiny_family, adapter), SpectralSettings(rank=16), cache)


@pytest.fixture(scope="session")
def bank(new_bank: Callable[[], Bank]) -> Bank:
    """Shared by tests that only read."""
    return new_bank()


@pytest.fixture(scope="session")
def qwen_bank(tiny_qwen_family: TinyFamily, cache: Path) -> Bank:
    """Biases and an untied head; full seeds only."""
    return load_bank(models_of(tiny_qwen_family), SpectralSettings(rank=16), cache)
