"""How large a family of models is, from headers and configuration alone: nothing is loaded.

A few percent off where seeds need residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from evolution.bank.adapters import WEIGHTS, is_adapter
from evolution.bank.files import check_files, read_config
from evolution.bank.layout import Layout, describe
from evolution.bank.merge_methods import BASE_NAME
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.bank.sources import locate
from evolution.bank.stored import stored_in
from evolution.engines.encoding import longest_context
from evolution.engines.settings import VLLM_CONTEXT, EngineSettings

_BF16, _FLOAT32 = 2, 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a family of models, from its headers.

    Attributes:
        weights: of one expert, tied weights once.
        bank: base, task vectors of seeds and configured merges, and spectral bases.
        key_values: keys and values of one token.
        vocabulary: number of tokens.
        width: numbers per token that are alive in the widest layer.
        item: bytes of one weight.
    """

    weights: int
    bank: int
    key_values: int
    vocabulary: int
    width: int
    item: int

    @property
    def parameters(self) -> int:
        """Weights of one expert, in number."""
        return self.weights // self.item


def measure_sizes(models: ModelSettings, spectral: SpectralSettings, cache_dir: Path) -> Sizes:
    """Sizes of a family; checkpoints on the hub are fetched, but none is loaded.

    Raises:
        BankError: a checkpoint is missing, or its headers cannot be read.
    """
    dtype: torch.dtype = getattr(torch, models.dtype)
    folders = {seed.name: locate(seed.path, cache_dir, dtype) for seed in models.seeds}
    source = locate(models.base, cache_dir, dtype) if models.base else next(iter(folders.values()))
    config = read_config(source, f"{BASE_NAME} ({source})")
    layout = describe(config, f"{BASE_NAME} ({source})")
    elements = sum(math.prod(shape) for shape in layout.shapes.values())
    anchors = sum(
        _adapter_bytes(folder) if is_adapter(folder) else _BF16 * elements
        for folder in folders.values()
    )
    # Whatever it is a merge of, it is kept as a full difference.
    anchors += len(models.merges) * _BF16 * elements
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return Sizes(
        weights=elements * dtype.itemsize,
        bank=elements * dtype.itemsize + anchors + _basis_bytes(layout, spectral.rank),
        key_values=2 * text.num_hidden_layers * heads * head_size * dtype.itemsize,
        vocabulary=text.vocab_size,
        width=4 * text.hidden_size + 3 * inner,
        item=dtype.itemsize,
    )


def measure_layout(models: ModelSettings, cache_dir: Path) -> Layout:
    """The architecture of a family.

    Raises:
        BankError: the base is missing, or its config.json cannot be read.
    """
    folder = locate(models.base or models.seeds[0].path, cache_dir, getattr(torch, models.dtype))
    label = f"{BASE_NAME} ({folder})"
    return describe(read_config(folder, label), label)


def measure_columns(
    models: ModelSettings, spectral: SpectralSettings, cache_dir: Path
) -> tuple[tuple[int, ...], int]:
    """Bytes of the anchors that a merge by RegMean adds to a bank.

    Returns:
        Those along the left factors of each adapter and of the spectral bases, which the bank has
        already; and a full difference, where members are not of low rank.

    Raises:
        BankError: a checkpoint is missing, or its headers cannot be read.
    """
    dtype: torch.dtype = getattr(torch, models.dtype)
    folders = [locate(seed.path, cache_dir, dtype) for seed in models.seeds]
    columns = [_adapter_bytes(folder, ".lora_A.") for folder in folders if is_adapter(folder)]
    layout = measure_layout(models, cache_dir)
    if spectral.rank:
        shapes = [layout.shapes[name] for name in layout.matrices]
        columns.append(_FLOAT32 * sum(min(spectral.rank, m, n) * n for m, n in shapes))
    full = _BF16 * sum(math.prod(shape) for shape in layout.shapes.values())
    return tuple(columns), full


def longest_sequence(models: ModelSettings, engine: EngineSettings, cache_dir: Path) -> int:
    """Tokens of the longest prompt and answer that experts of a family can attend to.

    Raises:
        BankError: the base is missing, or its config.json cannot be read.
    """
    source = models.base or models.seeds[0].path
    folder = locate(source, cache_dir, getattr(torch, models.dtype))
    context = longest_context(read_config(folder, f"{BASE_NAME} ({folder})"))
    if engine.kind != "vllm":
        return context
    return min(context, engine.context or VLLM_CONTEXT)


def _adapter_bytes(folder: Path, part: str = "") -> int:
    """Bytes of an adapter's factors, or of those whose names have a part in them."""
    check_files(folder, str(folder))
    stored = stored_in([folder / WEIGHTS], str(folder))
    return _FLOAT32 * sum(math.prod(stored.shape(name)) for name in stored.files if part in name)


def _basis_bytes(layout: Layout, rank: int) -> int:
    shapes = [layout.shapes[name] for name in layout.matrices]
    return _FLOAT32 * sum(min(rank, m, n) * (m + n + 1) for m, n in shapes)
