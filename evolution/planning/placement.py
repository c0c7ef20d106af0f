"""Where the memory planner wants the bank, and merges: beside the engine, or on the host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.bank.task_vectors import Dense
from evolution.engines.compute import choose_compute, device_of
from evolution.engines.settings import EngineSettings
from evolution.errors import TutorError
from evolution.materialise.streaming import page_lock
from evolution.merging.regmean import Member
from evolution.planning.lessons import plan_lesson, plan_lessons
from evolution.planning.merging import Occasions, plan_merge, plan_merging
from evolution.planning.plan import MERGE_SPARE, Machine, plan_memory
from evolution.planning.sizes import measure_sizes
from evolution.stages import Stages, no_stages
from evolution.tutoring.settings import TutorSettings

_TOKENS = 2048
"""Of a long conversation."""


def load_placed_bank(
    models: ModelSettings,
    spectral: SpectralSettings,
    engine: EngineSettings,
    cache_dir: Path,
    stages: Stages = no_stages,
    occasions: Occasions | None = None,
) -> Bank:
    """Load the bank for an engine; on the CPU, and for engines with a bank of their own, as it is.

    Args:
        models: base and seeds.
        spectral: rank of the bases.
        engine: where experts answer.
        cache_dir: of bases and checkpoints.
        stages: called with what is being loaded.
        occasions: of merges and lessons, for whose anchors room is left.

    Raises:
        BankError: a checkpoint is missing, damaged, or of another architecture or vocabulary.
        EngineError: the bank has to be locked in host memory, and cannot be.
    """
    machine = Machine.here(engine)
    if machine.gpu_memory is None or engine.kind != "transformers":
        return load_bank(models, spectral, cache_dir, stages=stages)
    sizes = measure_sizes(models, spectral, cache_dir)
    merging = plan_merging(models, spectral, cache_dir, occasions) if occasions else None
    lessons = plan_lessons(models, cache_dir, occasions, "cuda", sizes.item) if occasions else None
    plan = plan_memory(sizes, engine, machine, tokens=_TOKENS, merging=merging, lessons=lessons)
    if plan.bank == "device":
        device = "cuda" if engine.device == "auto" else engine.device
        return load_bank(models, spectral, cache_dir, device, stages)
    bank = load_bank(models, spectral, cache_dir, stages=stages)
    page_lock(bank)
    return bank


def merging_device(bank: Bank, engine: EngineSettings, members: Sequence[Member]) -> torch.device:
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
        tokens = max(sum(len(text) for text in member.texts) for member in members)
        vectors = (vector for anchor in bank.anchors for vector in anchor.held)
        dense = any(isinstance(vector, Dense) for vector in vectors)
        dense = dense or any(member.genome.noise for member in members)
        plan = plan_merge(bank.layout, len(members), tokens, dense, bank.dtype.itemsize)
        if plan.memory < MERGE_SPARE * torch.cuda.mem_get_info(device)[0]:
            return device
    return torch.device("cpu")


def lesson_device(
    bank: Bank, engine: EngineSettings, settings: TutorSettings, tokens: int
) -> torch.device:
    """Where an expert is taught: on the engine's GPU, if a lesson has room there beside the engine.

    Args:
        bank: of the experts.
        engine: where they answer.
        settings: of the lesson.
        tokens: of its longest example.

    Raises:
        EngineError: the configured device does not exist.
        TutorError: there is a GPU without room, and nobody has asked for lessons, which take long
            on a CPU.
    """
    device = device_of(engine.device)
    if device.type != "cuda":
        return device
    plan = plan_lesson(bank.layout, settings, 1, tokens, bank.dtype.itemsize)
    if plan.memory < MERGE_SPARE * torch.cuda.mem_get_info(device)[0]:
        return device
    if settings.steps is None:
        raise TutorError(f"{device} has no room for a lesson: set breeding.tutor.steps, or 0")
    return torch.device("cpu")


def reading_format(bank: Bank, engine: EngineSettings, device: torch.device) -> torch.dtype:
    """The number format in which experts read texts to be merged or taught: that of their answers.

    Args:
        bank: of the experts.
        engine: where they answer.
        device: where that is done; beside a GPU, a CPU is taken for one without bf16.
    """
    if device.type == "cpu" and device_of(engine.device).type != "cpu":
        return torch.float32
    weights = str(bank.dtype).removeprefix("torch.")
    chosen = choose_compute(engine, weights, bank.origin.cache_dir).dtype
    dtype: torch.dtype = getattr(torch, chosen)
    return dtype
