"""Where the memory planner wants the bank, and merges: beside the engine, or on the host."""

from __future__ import annotations

from pathlib import Path

import torch

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.compute import choose_compute, device_of
from evolution.engines.settings import EngineSettings
from evolution.materialise.streaming import page_lock
from evolution.planning.merging import plan_merge
from evolution.planning.plan import Machine, plan_memory
from evolution.planning.sizes import measure_sizes
from evolution.stages import Stages, no_stages

_TOKENS = 2048
"""Of a long conversation."""

_SPARE = 0.8
"""Share of what is free on a GPU that a merge may take."""


def load_placed_bank(
    models: ModelSettings,
    spectral: SpectralSettings,
    engine: EngineSettings,
    cache_dir: Path,
    stages: Stages = no_stages,
) -> Bank:
    """Load the bank for an engine; on the CPU, and for engines with a bank of their own, as it is.

    Raises:
        BankError: a checkpoint is missing, damaged, or of another architecture or vocabulary.
        EngineError: the bank has to be locked in host memory, and cannot be.
    """
    machine = Machine.here(engine)
    if machine.gpu_memory is None or engine.kind != "transformers":
        return load_bank(models, spectral, cache_dir, stages=stages)
    sizes = measure_sizes(models, spectral, cache_dir)
    if plan_memory(sizes, engine, machine, tokens=_TOKENS).bank == "device":
        device = "cuda" if engine.device == "auto" else engine.device
        return load_bank(models, spectral, cache_dir, device, stages)
    bank = load_bank(models, spectral, cache_dir, stages=stages)
    page_lock(bank)
    return bank


def merging_device(bank: Bank, engine: EngineSettings, members: int) -> torch.device:
    """Where experts are merged: on the engine's GPU, if a layer has room there beside the engine.

    Args:
        bank: of the experts.
        engine: where they answer.
        members: of the merge.

    Raises:
        EngineError: the configured device does not exist.
    """
    device = device_of(engine.device)
    if device.type == "cuda":
        needed = plan_merge(bank.layout, members, tokens=0).memory
        if needed < _SPARE * torch.cuda.mem_get_info(device)[0]:
            return device
    return torch.device("cpu")


def reading_format(bank: Bank, engine: EngineSettings, device: torch.device) -> torch.dtype:
    """The number format in which experts read their texts for a merge: that of their answers.

    Args:
        bank: of the experts.
        engine: where they answer.
        device: where they are merged; beside a GPU, a CPU is taken for one without bf16.
    """
    if device.type == "cpu" and device_of(engine.device).type != "cpu":
        return torch.float32
    weights = str(bank.dtype).removeprefix("torch.")
    chosen = choose_compute(engine, weights, bank.origin.cache_dir).dtype
    dtype: torch.dtype = getattr(torch, chosen)
    return dtype
