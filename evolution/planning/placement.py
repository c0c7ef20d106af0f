"""The bank where the memory planner wants it: beside the engine, or locked on the host."""

from __future__ import annotations

from pathlib import Path

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.materialise.streaming import page_lock
from evolution.planning.plan import Machine, plan_memory
from evolution.planning.sizes import measure_sizes
from evolution.stages import Stages, no_stages

_TOKENS = 2048
"""Of a long conversation."""


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
