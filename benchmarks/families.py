"""Families of random models, written to a folder on the spot, in the shapes of known ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config

from console.run.config import cache_folder
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.bank.sources import BUILT_IN_BASE, locate

SHAPES: dict[str, Any] = {
    "tiny": lambda: LlamaConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=49_152,
        tie_word_embeddings=True,
    ),
    "smollm2-135m": lambda: LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49_152,
        tie_word_embeddings=True,
    ),
    "qwen2-0.5b": lambda: Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
    ),
    "qwen2-7b": lambda: Qwen2Config(
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152_064,
        tie_word_embeddings=False,
    ),
}
SPREAD = 0.01
"""Size of a random task vector relative to its tensor."""


@contextmanager
def random_family(shape: str, seeds: int, rank: int, device: str = "cpu") -> Iterator[Bank]:
    """The bank of a random base and full checkpoints near it; its folders are removed again."""
    with TemporaryDirectory(prefix="acdc-family-") as scratch:
        folder = Path(scratch)
        names = ["base", *(f"seed-{index}" for index in range(seeds))]
        write(folder, shape, names)
        models = ModelSettings(
            base=str(folder / "base"),
            seeds=tuple(SeedSettings(name=name, path=str(folder / name)) for name in names[1:]),
        )
        spectral = SpectralSettings(rank=rank, method="randomised")
        yield load_bank(models, spectral, folder / "cache", device)


def write(folder: Path, shape: str, names: list[str]) -> None:
    """One checkpoint for each name; the first is the base."""
    tokenizer = AutoTokenizer.from_pretrained(locate(BUILT_IN_BASE, cache_folder(), torch.bfloat16))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        SHAPES[shape](), dtype=torch.bfloat16
    )
    base = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    for index, name in enumerate(names):
        for key, parameter in model.named_parameters():
            if index:
                size = SPREAD * float(base[key].float().square().mean().sqrt())
                noise = torch.randn_like(parameter) * size
                parameter.data.copy_(base[key] + noise)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
