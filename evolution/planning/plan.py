"""What a run will take of memory, from headers and configuration alone: before anything is loaded.

Estimates for people and for placing the bank, a few percent off where seeds need residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from evolution.engines.settings import VLLM_CONTEXT, EngineSettings
from evolution.planning.headroom import free_memory
from evolution.planning.lessons import Lessons
from evolution.planning.merging import Merging
from evolution.planning.sizes import Sizes

MemoryPlace = Literal["memory", "GPU memory"]
BankPlace = Literal["host", "device", "pinned"]
Fit = Literal["fits", "tight", "too large"]

_SPARE = 0.9
"""Share of what is free that may be planned with; the rest is for what is not counted."""

MERGE_SPARE = 0.8
"""Share of what is free on a GPU that a merge or a lesson may take."""

_FLOAT32 = 4


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
        available = free_memory()
        on_gpu = engine.device.startswith("cuda") or engine.device == "auto"
        if not on_gpu or not torch.cuda.is_available():
            return cls(available, None)
        index = torch.device("cuda" if engine.device == "auto" else engine.device).index
        return cls(available, torch.cuda.mem_get_info(index or 0)[0])


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """One thing that takes memory.

    Attributes:
        what: it is.
        place: where it lies.
        bytes: at most, or nearly so.
    """

    what: str
    place: MemoryPlace
    bytes: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How much memory each part needs, and whether it is available.

    Attributes:
        needs: of all parts of a run.
        machine: what is free.
        bank: where the bank lies that weights are made of: `host`, `device`, or `pinned`
            (page-locked on the host, streamed to the GPU for every expert).
        verdict: over all places.
        advice: one line for people.
    """

    needs: tuple[MemoryNeed, ...]
    machine: Machine
    bank: BankPlace
    verdict: Fit
    advice: str

    def needed(self, place: MemoryPlace) -> int:
        """Bytes in all at one place."""
        return sum(need.bytes for need in self.needs if need.place == place)


def plan_memory(
    sizes: Sizes,
    engine: EngineSettings,
    machine: Machine,
    *,
    tokens: int,
    sandbox: int = 0,
    merging: Merging | None = None,
    lessons: Lessons | None = None,
) -> MemoryPlan:
    """Lay out a run.

    Args:
        sizes: of the family.
        engine: where experts answer, settled: `auto` counts as transformers, and as computed in
            the format of the weights.
        machine: what is free.
        tokens: of the longest conversation, prompt and answer.
        sandbox: bytes that the sandbox may take, all of its processes together.
        merging: what merges take, and what they add to the bank; None if there are none.
        lessons: likewise.
    """
    working: MemoryPlace = "memory" if machine.gpu_memory is None else "GPU memory"
    sizes = _computed(sizes, engine)
    with_vllm = engine.kind == "vllm"
    lay_out = _of_vllm if with_vllm else _of_transformers
    of_engine = (
        MemoryNeed("weights of an expert", working, sizes.weights),
        *lay_out(sizes, engine, tokens, working),
    )
    bank: BankPlace = "host"
    anchors = (merging.anchors if merging else 0) + (lessons.anchors if lessons else 0)
    if machine.gpu_memory is not None:
        taken = sum(need.bytes for need in of_engine) + sizes.bank + anchors
        beyond: BankPlace = "host" if with_vllm else "pinned"
        bank = "device" if taken <= _SPARE * machine.gpu_memory else beyond
    where: MemoryPlace = "GPU memory" if bank == "device" else "memory"
    banks: list[tuple[str, MemoryPlace]] = [("bank", where)]
    if with_vllm:
        # The run breeds in a bank of its own, beside that of vLLM's worker.
        banks = [("bank", "memory"), ("bank of vLLM's worker", where)]
    needs: tuple[MemoryNeed, ...] = (
        *(MemoryNeed(what, place, sizes.bank) for what, place in banks),
        *of_engine,
    )
    # One merge or lesson at a time, but planned as if what one takes were not given back.
    for what, size in _tasks(merging, lessons):
        needs += (MemoryNeed(what, _place(size, needs, machine, with_vllm), size),)
    for what, size in (
        ("anchors of merges, at most", merging.anchors if merging else 0),
        ("anchors of lessons, at most", lessons.anchors if lessons else 0),
    ):
        needs += tuple(MemoryNeed(what, place, size) for _, place in banks if size)
    if sandbox:
        needs += (MemoryNeed("sandbox, at most", "memory", sandbox),)
    return _judged(needs, machine, bank)


def _tasks(merging: Merging | None, lessons: Lessons | None) -> list[tuple[str, int]]:
    """What computes beside the engine now and then, and its bytes."""
    found = [
        (f"a merge ({merging.members} experts)", merging.memory) if merging else ("", 0),
        (f"a lesson ({lessons.steps} steps)", lessons.plan.memory) if lessons else ("", 0),
    ]
    return [(what, size) for what, size in found if size]


def _place(
    size: int, others: Sequence[MemoryNeed], machine: Machine, with_vllm: bool
) -> MemoryPlace:
    """On the GPU if there is room, beside everything else that is there."""
    if machine.gpu_memory is None or with_vllm:
        return "memory"
    taken = sum(need.bytes for need in others if need.place == "GPU memory")
    return "GPU memory" if size < MERGE_SPARE * (machine.gpu_memory - taken) else "memory"


def _computed(sizes: Sizes, engine: EngineSettings) -> Sizes:
    """The same with weights, keys and values in the format that they are computed in."""
    if engine.compute == "auto":
        return sizes
    item: int = getattr(torch, engine.compute).itemsize
    weights = sizes.weights // sizes.item * item
    return replace(
        sizes, weights=weights, key_values=sizes.key_values // sizes.item * item, item=item
    )


def _of_transformers(
    sizes: Sizes, engine: EngineSettings, tokens: int, place: MemoryPlace
) -> tuple[MemoryNeed, MemoryNeed]:
    """Keys and values of all rows, and what is alive in the widest step."""
    on_cpu = place == "memory"
    rows = engine.rows or (32 if on_cpu else 128)
    prefill = engine.prefill_tokens or (512 if on_cpu else 8192)
    return (
        MemoryNeed(_key_values(rows, tokens), place, rows * tokens * sizes.key_values),
        _activations(sizes, rows, prefill, place),
    )


def _of_vllm(
    sizes: Sizes, engine: EngineSettings, tokens: int, place: MemoryPlace
) -> tuple[MemoryNeed, MemoryNeed]:
    """On a CPU the cache has its size from the start; on a GPU it takes what is left, and what all
    rows need is counted.
    """
    on_cpu = place == "memory"
    rows = engine.rows or (64 if on_cpu else 256)
    prefill = max(engine.context or VLLM_CONTEXT, 2048) if on_cpu else 8192
    gib = engine.kv_cache_gib or (1.0 if on_cpu else None)
    what, size = _key_values(rows, tokens), rows * tokens * sizes.key_values
    if gib is not None:
        what, size = "keys and values (engine.kv_cache_gib)", int(gib * 2**30)
    return MemoryNeed(what, place, size), _activations(sizes, rows, prefill, place)


def _key_values(rows: int, tokens: int) -> str:
    return f"keys and values ({rows} rows of {tokens} tokens)"


def _activations(sizes: Sizes, rows: int, prefill: int, place: MemoryPlace) -> MemoryNeed:
    scores = rows * sizes.vocabulary * (sizes.item + 2 * _FLOAT32)
    return MemoryNeed("activations", place, scores + (prefill + rows) * sizes.width * sizes.item)


def _judged(needs: tuple[MemoryNeed, ...], machine: Machine, bank: BankPlace) -> MemoryPlan:
    free: dict[MemoryPlace, int] = {"memory": machine.memory, "GPU memory": machine.gpu_memory or 0}
    taken = {place: sum(need.bytes for need in needs if need.place == place) for place in free}
    over = [place for place in free if taken[place] > free[place]]
    if over:
        place = over[0]
        largest = max((n for n in needs if n.place == place), key=lambda need: need.bytes)
        remedy = next((r for what, r in _REMEDIES if largest.what.startswith(what)), _SMALLER)
        advice = (
            f"{_gib(taken[place])} of {place} needed, {_gib(free[place])} free; the largest part: "
            f"{largest.what}: {remedy}"
        )
        return MemoryPlan(needs, machine, bank, "too large", advice)
    if any(taken[place] > _SPARE * free[place] for place in free):
        advice = "it fits, with less than a tenth to spare: close programs, or lower engine.rows"
        return MemoryPlan(needs, machine, bank, "tight", advice)
    advice = {
        "host": "bank and engine share main memory"
        if machine.gpu_memory is None
        else "the bank stays in host memory and is moved to the GPU for each expert",
        "device": "bank and engine fit on the GPU together",
        "pinned": "the bank stays in locked host memory and is streamed to the GPU for each expert",
    }[bank]
    return MemoryPlan(needs, machine, bank, "fits", advice)


_SMALLER = "use smaller models, or a larger machine"
_REMEDIES = (
    ("bank", "use fewer full seeds or merges, LoRA seeds, or a smaller spectral.rank"),
    ("keys and values (engine", "lower engine.kv_cache_gib"),
    ("keys and values", "lower engine.rows, or judge.max_tokens"),
    ("activations", "lower engine.rows, engine.prefill_tokens or engine.context"),
    ("a merge", "lower breeding.regmean.members or texts, or set founding and adapting to false"),
    ("a lesson", "lower breeding.tutor.batch or rank, or set breeding.tutor.steps to 0"),
    ("anchors", "lower breeding.regmean.anchors: the others are read from their files"),
    ("sandbox", "lower sandbox.guests or sandbox.memory_mb"),
)
"""How a part begins -> what makes it smaller."""


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
