"""Starting vLLM for a bank: a folder without weights, the environment, and the arguments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import vllm
from vllm.platforms import current_platform

from evolution.bank.bank import Bank
from evolution.engines.compute import choose_compute
from evolution.engines.encoding import longest_context
from evolution.engines.settings import VLLM_CONTEXT, EngineSettings
from evolution.engines.vllm.watch import watch
from evolution.errors import EngineError
from memory.messages import first_line
from memory.threads import usual_threads

LOG = "vllm.log"
WORKER = "evolution.engines.vllm.worker.BankWorker"

_ROWS = {"cpu": 64, "cuda": 256}
_GIB = 1 << 30
_CPU_BLOCK = 32
"""Tokens of a block of keys and values: the fewest that vLLM's CPU attention takes. Prompts share
whole blocks only, and the beginning that all judged prompts share is shorter than vLLM's 128."""
_IN_ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""The scheduler in the worker's own process. By itself it would wait for its worker in a loop that
takes a whole core, of which two may be all there are. Named in full, since vLLM turns `uni` into
`mp` on a CPU, for the sake of threads that it would bind, which we do not let it."""
_GPU_SHARE = 0.9
_START_ERRORS = (ValueError, RuntimeError, OSError, NotImplementedError, AssertionError, KeyError)
_ECHOES = ("Engine core initialization failed", "EngineDeadError", "Worker failed")
_CAUSE = re.compile(r"(\w*(?:Error|Exception): .+)$", re.MULTILINE)


@dataclass(frozen=True)
class LaunchPlan:
    """What vLLM is started with.

    Attributes:
        device: `cpu`, or `cuda` with an index.
        compute: number format that experts are computed in.
        threads: of the worker, on a CPU.
        rows: replies side by side, at most.
        context: longest prompt and answer, in tokens.
        kv_cache_bytes: for keys and values; None leaves it to vLLM, on a GPU.
    """

    device: torch.device
    compute: str
    threads: int | None
    rows: int
    context: int
    kv_cache_bytes: int | None

    @property
    def on_cpu(self) -> bool:
        """Whether the worker computes on a CPU."""
        return self.device.type == "cpu"


def plan(bank: Bank, settings: EngineSettings) -> LaunchPlan:
    """What the settings come to on this machine.

    Raises:
        EngineError: the vLLM that is installed is not for that device, or the model is a mixture
            of experts, or has convolutions.
    """
    if any(len(shape) > 2 for shape in bank.layout.shapes.values()):
        raise EngineError(
            "a mixture-of-experts model, or one with convolutions, cannot be swapped in vLLM: "
            "its weights cannot be verified there; set engine.kind to transformers"
        )
    kind: str = current_platform.device_type
    device = torch.device(kind if settings.device == "auto" else settings.device)
    if device.type != kind:
        raise EngineError(
            f"the installed vLLM runs on {kind}, not on {settings.device}: set "
            "engine.device to auto"
        )
    longest = longest_context(bank.config)
    on_cpu = kind == "cpu"
    gib = settings.kv_cache_gib or (1.0 if on_cpu else None)
    return LaunchPlan(
        device=device,
        compute=choose_compute(
            settings, str(bank.dtype).removeprefix("torch."), bank.origin.cache_dir
        ).dtype,
        threads=(settings.threads or usual_threads()) if on_cpu else None,
        rows=settings.rows or _ROWS.get(kind, 64),
        context=min(longest, settings.context or VLLM_CONTEXT),
        kv_cache_bytes=None if gib is None else int(gib * _GIB),
    )


def start(bank: Bank, plan: LaunchPlan, folder: Path, **other: Any) -> Any:
    """Start vLLM with weights that mean nothing yet.

    Args:
        bank: gives the architecture.
        plan: see there.
        folder: for configuration and log; to be kept as long as vLLM runs.
        other: arguments of vLLM, in place of those that an engine starts it with.

    Raises:
        EngineError: vLLM cannot serve this model, or has not the memory for it.
    """
    bank.config.save_pretrained(folder)
    bank.generation.save_pretrained(folder)
    # Only what constrains replies reads it: prompts come as tokens, and so do replies.
    bank.tokenizer.save_pretrained(folder)
    with _environment(_variables(plan, folder / LOG)):
        try:
            llm = vllm.LLM(**(_arguments(bank, plan, folder) | other))
        except _START_ERRORS as error:
            reason = last_cause(folder) or first_line(error)
            raise EngineError(f"vLLM does not start: {reason}") from error
    watch(llm)
    return llm


def _arguments(bank: Bank, plan: LaunchPlan, folder: Path) -> dict[str, Any]:
    arguments = {
        "model": str(folder),
        # The first lease gives the weights.
        "load_format": "dummy",
        "dtype": plan.compute,
        "max_model_len": plan.context,
        "max_num_seqs": plan.rows,
        "worker_extension_cls": WORKER,
        "generation_config": "vllm",
        # One grammar engine, since vLLM keeps the first that it needs. White space is fixed: a
        # small model that may always add some more may do nothing else.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "seed": 0,
    }
    if plan.kv_cache_bytes is not None:
        arguments["kv_cache_memory_bytes"] = plan.kv_cache_bytes
    if plan.on_cpu:
        # Compiled code would keep the packed weights that it was traced with.
        arguments["enforce_eager"] = True
        arguments["distributed_executor_backend"] = _IN_ONE_PROCESS
        arguments["block_size"] = _CPU_BLOCK
        # A prompt that is read in parts takes back a random number after each, which vLLM 0.32
        # cannot do on a CPU and dies of, if the request has a seed.
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(plan.context, 2048)
    else:
        arguments["gpu_memory_utilization"] = _gpu_share(bank, plan.device)
    return arguments


def _gpu_share(bank: Bank, device: torch.device) -> float:
    """VLLM's share of a GPU: the bank is left room beside it, unless that takes nearly half."""
    total = torch.cuda.get_device_properties(device).total_memory
    share = _GPU_SHARE - 1.2 * bank.memory_bytes / total
    return share if share >= _GPU_SHARE / 2 else _GPU_SHARE


def _variables(plan: LaunchPlan, log: Path) -> dict[str, str]:
    variables = {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
        "VLLM_LOGGING_CONFIG_PATH": str(_log_to(log)),
    }
    if plan.on_cpu:
        # Bound threads would fight over their cores with the rest of a run.
        variables |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(plan.threads)}
    elif plan.device.index is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(i) for i in range(plan.device.index + 1)]
        if plan.device.index >= min(len(names), torch.cuda.device_count()):
            raise EngineError(
                f"device {str(plan.device)!r} does not exist: set engine.device to auto"
            )
        variables["CUDA_VISIBLE_DEVICES"] = names[plan.device.index]
    return variables


def _log_to(log: Path) -> Path:
    """A logging configuration that keeps vLLM's words out of what a run prints."""
    handler = {"class": "logging.FileHandler", "filename": str(log), "delay": True}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"file": handler},
        "loggers": {"vllm": {"handlers": ["file"], "level": "INFO", "propagate": False}},
    }
    file = log.with_suffix(".json")
    file.write_text(json.dumps(config))
    return file


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started within; this one's are put back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def last_cause(folder: Path) -> str | None:
    """The last error in vLLM's log, where the reason of a failure stands."""
    log = folder / LOG
    causes = _CAUSE.findall(log.read_text(errors="replace")) if log.is_file() else []
    reported = [cause for cause in causes if not any(echo in cause for echo in _ECHOES)]
    return reported[-1] if reported else None
