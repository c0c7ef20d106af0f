"""The number format that experts are computed in, apart from the one that their weights have.

Weights are summed in float32 and rounded to `models.dtype`: that is what an expert *is*. It is then
computed in the same format where the device multiplies it natively, and in float32 elsewhere: a CPU
without bfloat16 instructions multiplies bfloat16 several times more slowly than float32.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evolution.bank.cache import keep_json
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError
from memory.hashing import json_hash
from memory.threads import usual_threads

_PROBE_ROWS, _PROBE_SIDE = 64, 1024
_REPEATS = 5
_LIBRARY_VARIABLES = ("ONEDNN_", "MKL_", "ATEN_CPU_")
"""Prefixes of environment variables that restrict which instructions libraries use."""
_NATIVE_CAPABILITY = {torch.bfloat16: (8, 0), torch.float16: (7, 0)}
"""CUDA compute capability from which tensor cores multiply a format."""


@dataclass(frozen=True, slots=True)
class Compute:
    """The format that experts are computed in.

    Attributes:
        dtype: name of the format.
        reason: why it is that one, for people.
        gflops: name of a format -> GFLOP/s of a matrix product in it on this device.
    """

    dtype: str
    reason: str
    gflops: dict[str, float]

    def __str__(self) -> str:
        speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in self.gflops.items())
        return f"{self.dtype}: {self.reason}" + (f" ({speeds} GFLOP/s)" if speeds else "")


def device_of(name: str) -> torch.device:
    """The device that a setting names; `auto` is the first GPU if there is one, else the CPU.

    Raises:
        EngineError: it does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(
            f"engine.device = {name!r} is not a device: use auto, cpu or cuda:1"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device {name!r} does not exist ({torch.cuda.device_count()} GPUs): set engine.device "
            "to auto or cpu"
        )
    return device


def choose_compute(engine: EngineSettings, weights: str, cache_dir: Path) -> Compute:
    """The format for an engine on this machine.

    Args:
        engine: where experts answer; `engine.compute` other than `auto` decides.
        weights: format of the experts' weights, as in `models.dtype`.
        cache_dir: speeds are measured once per machine and kept there.

    Raises:
        EngineError: the device does not exist.
    """
    device = device_of(engine.device)
    threads = engine.threads or usual_threads()
    speeds = _speeds(device, _formats(engine, weights), threads, cache_dir)
    if engine.compute != "auto":
        return Compute(engine.compute, "set by engine.compute", speeds)
    if weights == "float32":
        return Compute(weights, "the format of the weights", speeds)
    native = _is_native(device, getattr(torch, weights))
    if native is not None:
        verb = "multiplies" if native else "does not multiply"
        reason = f"this {device.type.upper()} {verb} {weights} natively"
    else:
        native = speeds[weights] >= speeds["float32"]
        reason = "the faster of the two when measured"
    return Compute(weights if native else "float32", reason, speeds)


def _formats(engine: EngineSettings, weights: str) -> list[str]:
    """Formats whose speed is of interest."""
    named = [weights, "float32", engine.compute]
    return [name for name in dict.fromkeys(named) if name != "auto"]


def _is_native(device: torch.device, dtype: torch.dtype) -> bool | None:
    """Whether a device multiplies a format natively; None where nothing says so."""
    if device.type == "cuda":
        if torch.version.hip is not None:
            return None
        return torch.cuda.get_device_capability(device) >= _NATIVE_CAPABILITY[dtype]
    capabilities = _capabilities()
    endings = {torch.bfloat16: "bf16", torch.float16: "fp16"}
    flags = [value for name, value in capabilities.items() if name.endswith(endings[dtype])]
    # oneDNN, which multiplies, may be configured to leave instructions unused.
    if device.type != "cpu" or not flags or "ONEDNN_MAX_CPU_ISA" in os.environ:
        return None
    return any(flags)


def _speeds(
    device: torch.device, formats: Sequence[str], threads: int, cache_dir: Path
) -> dict[str, float]:
    """GFLOP/s by format: found in the cache, or measured in some milliseconds."""
    machine = [machine_name(device), torch.__version__, threads]
    file = cache_dir / "compute" / f"{json_hash(machine, 16)}.json"
    found: dict[str, float] = {}
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        found = {name: float(speed) for name, speed in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # missing or damaged
    new = {
        name: measure_gflops(getattr(torch, name), device, threads)
        for name in formats
        if name not in found
    }
    if new:
        found |= new
        keep_json(file, found)
    return {name: found[name] for name in formats}


def machine_name(device: torch.device) -> str:
    """What computes, with all that may decide how."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    restricted = {
        name: value for name, value in os.environ.items() if name.startswith(_LIBRARY_VARIABLES)
    }
    known = [torch.backends.cpu.get_cpu_capability(), _capabilities(), restricted]
    return json.dumps(known, sort_keys=True)


def _capabilities() -> dict[str, Any]:
    """What a CPU can do, in PyTorch's words; empty where PyTorch is too old to say."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())


def measure_gflops(
    dtype: torch.dtype,
    device: torch.device,
    threads: int | None = None,
    rows: int = _PROBE_ROWS,
    shapes: Sequence[tuple[int, int]] = ((_PROBE_SIDE, _PROBE_SIDE),),
) -> float:
    """GFLOP/s of linear layers one after the other: the best of a few passes.

    Args:
        dtype: of inputs and weights.
        device: where.
        threads: of a CPU; by default all that PyTorch takes.
        rows: inputs side by side.
        shapes: (outputs, inputs) of the layers.
    """
    with ThreadPoolExecutor(1, "acdc-probe") as alone:
        best: float = alone.submit(
            _best_seconds, dtype, device, threads or usual_threads(), rows, shapes
        ).result()
    return 2e-9 * rows * sum(m * n for m, n in shapes) / best


@torch.inference_mode()
def _best_seconds(
    dtype: torch.dtype,
    device: torch.device,
    threads: int,
    rows: int,
    shapes: Sequence[tuple[int, int]],
) -> float:
    torch.set_num_threads(threads)
    weights = [torch.randn(shape, device=device).to(dtype) for shape in shapes]
    inputs = {n: torch.randn(rows, n, device=device).to(dtype) for _, n in shapes}
    return min(_seconds(weights, inputs) for _ in range(_REPEATS))


def _seconds(weights: Sequence[Tensor], inputs: dict[int, Tensor]) -> float:
    start = time.perf_counter()
    for weight in weights:
        torch.nn.functional.linear(inputs[weight.shape[1]], weight)
    if weights[0].is_cuda:
        torch.cuda.synchronize(weights[0].device)
    return time.perf_counter() - start
