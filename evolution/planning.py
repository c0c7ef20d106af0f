"""What a run will take of memory, from headers and configuration alone: before anything is loaded.

Estimates for people and for placing the bank, a few percent off where seeds need residuals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from evolution.adapters import WEIGHTS, is_adapter
from evolution.engines.encoding import longest_context
from evolution.errors import CheckpointError, line
from evolution.layout import Layout, describe
from evolution.settings import (
    BASE_NAME,
    VLLM_CONTEXT,
    EngineSettings,
    ModelSettings,
    SpectralSettings,
)
from evolution.sources import locate

Place = Literal["memory", "GPU memory"]
BankPlace = Literal["host", "device", "pinned"]
Verdict = Literal["fits", "tight", "too large"]

_SPARE = 0.9
"""Share of what is free that may be planned with; the rest is for what nobody counts."""

_BF16, _FLOAT32 = 2, 4


@dataclass(frozen=True, slots=True)
class Machine:
    """What is free.

    Attributes:
        memory: bytes of main memory.
        gpu_memory: bytes on the GPU that the engine runs on; None if it runs on the CPU.
    """

    memory: int
    gpu_memory: int | None

    @classmethod
    def here(cls, engine: EngineSettings) -> Machine:
        """This machine, as far as that engine may use it."""
        available = psutil.virtual_memory().available
        on_gpu = engine.device.startswith("cuda") or engine.device == "auto"
        if not on_gpu or not torch.cuda.is_available():
            return cls(available, None)
        index = torch.device("cuda" if engine.device == "auto" else engine.device).index
        return cls(available, torch.cuda.mem_get_info(index or 0)[0])


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that takes memory.

    Attributes:
        what: it is.
        place: where it lies.
        bytes: at most, or nearly so.
    """

    what: str
    place: Place
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Who needs how much memory, and whether it is there.

    Attributes:
        needs: of all parts of a run.
        machine: what is free.
        bank: where the bank lies: `host`, `device`, or `pinned` (page-locked on the host, streamed
            to the GPU for every expert).
        verdict: over all places.
        advice: one line for people.
    """

    needs: tuple[Need, ...]
    machine: Machine
    bank: BankPlace
    verdict: Verdict
    advice: str

    def needed(self, place: Place) -> int:
        """Bytes in all at one place."""
        return sum(need.bytes for need in self.needs if need.place == place)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a family of models, from its headers.

    Attributes:
        weights: of one expert, tied weights once.
        bank: base, task vectors and spectral bases.
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


def measure_sizes(models: ModelSettings, spectral: SpectralSettings, cache_dir: Path) -> Sizes:
    """Sizes of a family; checkpoints on the hub are fetched, but none is loaded.

    Raises:
        BankError: a checkpoint is missing, or its headers cannot be read.
    """
    dtype: torch.dtype = getattr(torch, models.dtype)
    folders = {seed.name: locate(seed.path, cache_dir, dtype) for seed in models.seeds}
    source = locate(models.base, cache_dir, dtype) if models.base else next(iter(folders.values()))
    config = _config(source)
    layout = describe(config, f"{BASE_NAME} ({source})")
    elements = sum(math.prod(shape) for shape in layout.shapes.values())
    anchors = sum(
        _adapter_bytes(folder) if is_adapter(folder) else _BF16 * elements
        for folder in folders.values()
    )
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


def longest_sequence(models: ModelSettings, engine: EngineSettings, cache_dir: Path) -> int:
    """Tokens of the longest prompt and answer that experts of a family can attend to.

    Raises:
        BankError: the base is missing, or its config.json cannot be read.
    """
    source = models.base or models.seeds[0].path
    context = longest_context(_config(locate(source, cache_dir, getattr(torch, models.dtype))))
    if engine.kind != "vllm":
        return context
    return min(context, engine.context or VLLM_CONTEXT)


def plan_memory(
    sizes: Sizes,
    engine: EngineSettings,
    machine: Machine,
    *,
    tokens: int,
    sandbox: int = 0,
) -> Plan:
    """Lay out a run.

    Args:
        sizes: of the family.
        engine: where experts answer.
        machine: what is free.
        tokens: of the longest conversation, prompt and answer.
        sandbox: bytes that the sandbox may take, all of its processes together.
    """
    gpu = machine.gpu_memory
    rows = engine.rows or (32 if gpu is None else 128)
    prefill = engine.prefill_tokens or (512 if gpu is None else 8192)
    working: Place = "memory" if gpu is None else "GPU memory"
    scores = rows * sizes.vocabulary * (sizes.item + 2 * _FLOAT32)
    of_engine = (
        Need("weights of an expert", working, sizes.weights),
        Need(
            f"keys and values ({rows} rows of {tokens} tokens)",
            working,
            rows * tokens * sizes.key_values,
        ),
        Need("activations", working, scores + (prefill + rows) * sizes.width * sizes.item),
    )
    bank: BankPlace = "host"
    if gpu is not None:
        taken = sum(need.bytes for need in of_engine) + sizes.bank
        bank = "device" if taken <= _SPARE * gpu else "pinned"
    where: Place = "GPU memory" if bank == "device" else "memory"
    needs: tuple[Need, ...] = (Need("bank", where, sizes.bank), *of_engine)
    if engine.kind != "transformers":
        needs += (Need("bank of the engine's worker", where, sizes.bank),)
    if sandbox:
        needs += (Need("sandbox, at most", "memory", sandbox),)
    return _judged(needs, machine, bank)


def _judged(needs: tuple[Need, ...], machine: Machine, bank: BankPlace) -> Plan:
    free: dict[Place, int] = {"memory": machine.memory, "GPU memory": machine.gpu_memory or 0}
    taken = {place: sum(need.bytes for need in needs if need.place == place) for place in free}
    over = [place for place in free if taken[place] > free[place]]
    if over:
        place = over[0]
        largest = max((n for n in needs if n.place == place), key=lambda need: need.bytes)
        advice = (
            f"{_gib(taken[place])} of {place} needed, {_gib(free[place])} free; the largest part: "
            f"{largest.what}: {_REMEDIES.get(largest.what.split(' (')[0], _SMALLER)}"
        )
        return Plan(needs, machine, bank, "too large", advice)
    if any(taken[place] > _SPARE * free[place] for place in free):
        advice = "it fits with less than a tenth to spare: end other programs, or lower engine.rows"
        return Plan(needs, machine, bank, "tight", advice)
    advice = {
        "host": "bank and engine share main memory",
        "device": "bank and engine fit on the GPU together",
        "pinned": "the bank stays in locked host memory and is streamed to the GPU for each expert",
    }[bank]
    return Plan(needs, machine, bank, "fits", advice)


_SMALLER = "take a smaller family of models, or a larger machine"
_REMEDIES = {
    "bank": "take fewer full seeds, LoRA seeds, or a smaller spectral.rank",
    "keys and values": "lower engine.rows, or judge.max_tokens",
    "activations": "lower engine.rows or engine.prefill_tokens",
    "sandbox, at most": "lower sandbox.guests or sandbox.memory_mb",
}


def _config(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: config.json cannot be read: {line(error)}") from error


def _adapter_bytes(folder: Path) -> int:
    return _FLOAT32 * sum(math.prod(shape) for shape in _stored_shapes(folder / WEIGHTS))


def _stored_shapes(file: Path) -> Iterator[list[int]]:
    try:
        with safe_open(file, framework="pt") as stored:
            for name in list(stored.keys()):
                yield stored.get_slice(name).get_shape()
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} is missing or damaged: {line(error)}") from error


def _basis_bytes(layout: Layout, rank: int) -> int:
    shapes = [layout.shapes[name] for name in layout.matrices]
    return _FLOAT32 * sum(min(rank, m, n) * (m + n + 1) for m, n in shapes)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
