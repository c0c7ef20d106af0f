"""LoRA adapters in the format of PEFT, read as factors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evolution.bank.fingerprint import tensors_hash
from evolution.bank.layout import Layout
from evolution.bank.task_vectors import LowRank
from evolution.errors import CheckpointError, IncompatibleError
from memory.hashing import json_hash
from memory.messages import first_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_FACTOR = re.compile(r"^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.\w+)?\.weight$")
_COMPUTED = frozenset({"peft_type", "lora_alpha", "alpha_pattern", "use_rslora"})
"""Keys that say what the factors mean, and are followed here."""
_DESCRIPTIVE = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    }
)
"""Keys that say how factors were trained, or where they are: their names and shapes say it, too.
The settings of initialisers are among them, since `init_lora_weights` decides about those."""
_INITIALISERS = (True, False, "gaussian", "eva", "orthogonal")
"""Those that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA, ...) change it,
and their factors are meant for the changed base."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        vectors: tensor name of the base -> factors.
        content_hash: of factors and scales, however the files are laid out.
    """

    vectors: Mapping[str, LowRank]
    content_hash: str


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a PEFT adapter."""
    return (folder / CONFIG).is_file()


def read_adapter(folder: Path, label: str, layout: Layout) -> Adapter:
    """Read an adapter and check it against the architecture of the base.

    Raises:
        CheckpointError: damaged, missing, or of a kind that has no factors.
        IncompatibleError: names the tensor and the two shapes.
    """
    config = _read_config(folder, label)
    pairs = _factor_pairs(_read_weights(folder, label), label)
    vectors: dict[str, LowRank] = {}
    for module, factors in sorted(pairs.items()):
        if set(factors) != {"A", "B"}:
            raise CheckpointError(f"{label}: {module} has only one of lora_A and lora_B")
        down, up = factors["A"].float(), factors["B"].float()
        name = f"{module}.weight"
        _check_shapes(label, name, up, down, layout)
        vectors[name] = LowRank(
            up.contiguous(), down.contiguous(), _scale(config, module, down, label)
        )
    if not vectors:
        raise CheckpointError(f"{label}: {folder / WEIGHTS} holds no LoRA factors")
    factors_hash = tensors_hash(
        (f"{name}.{part}", getattr(vector, part))
        for name, vector in vectors.items()
        for part in ("up", "down")
    )
    scales = {name: vector.scale for name, vector in vectors.items()}
    return Adapter(vectors, json_hash([factors_hash, scales], 32))


def _read_config(folder: Path, label: str) -> dict[str, Any]:
    try:
        config: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{label}: {folder / CONFIG} cannot be read: {first_line(error)}"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{label}: {folder / CONFIG} holds no object")
    kind = str(config.get("peft_type", "LORA")).upper()
    if kind != "LORA":
        raise CheckpointError(
            f"{label} is a {kind} adapter; only LoRA is supported: merge it into a full checkpoint"
        )
    _check_meaning(config, label)
    return config


def _check_meaning(config: Mapping[str, Any], label: str) -> None:
    """Refuse every key that is set and not known: it may change what the factors mean.

    Raises:
        CheckpointError: names the key.
    """
    advice = "merge it into a full checkpoint"
    initialiser = config.get("init_lora_weights", True)
    if initialiser not in _INITIALISERS:
        raise CheckpointError(
            f"{label}: init_lora_weights = {initialiser!r} is not known to leave the base as it "
            f"is: {advice}, or save the adapter as a plain LoRA (PEFT: "
            "path_initial_model_for_weight_conversion)"
        )
    unknown = sorted(
        key
        for key, value in config.items()
        if value and (key, value) != ("bias", "none") and key not in _COMPUTED | _DESCRIPTIVE
    )
    if unknown:
        raise CheckpointError(
            f"{label} uses {unknown[0]}, which is not read for LoRA factors: {advice}"
        )


def _read_weights(folder: Path, label: str) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{label}: {path} is missing or damaged: {first_line(error)}"
        ) from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{label}: tensor {name} holds values that are not finite")
    return tensors


def _factor_pairs(tensors: Mapping[str, Tensor], label: str) -> dict[str, dict[str, Tensor]]:
    """Module name -> {"A": down, "B": up}."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _FACTOR.match(key)
        if match is None or tensor.ndim != 2:
            raise CheckpointError(
                f"{label}: tensor {key} of shape {tuple(tensor.shape)} is not a LoRA factor: "
                "merge the adapter into a full checkpoint"
            )
        pairs.setdefault(match[1], {})[match[2]] = tensor
    return pairs


def _check_shapes(label: str, name: str, up: Tensor, down: Tensor, layout: Layout) -> None:
    expected = layout.shapes.get(name)
    if expected is None:
        raise IncompatibleError(
            f"{label} adapts tensor {name}, which the base does not have as a separate tensor"
        )
    found = (up.shape[0], down.shape[1])
    if found != expected or up.shape[1] != down.shape[0]:
        raise IncompatibleError(
            f"{label} adapts tensor {name} with factors {tuple(up.shape)} x {tuple(down.shape)}, "
            f"the base has shape {expected}"
        )


def _scale(config: Mapping[str, Any], module: str, down: Tensor, label: str) -> float:
    """`alpha / rank` (or `alpha / sqrt(rank)`), with PEFT's patterns for single modules.

    Raises:
        CheckpointError: alpha or a pattern is none, or the rank is 0.
    """
    try:
        alpha = float(config.get("lora_alpha", 8))
        for pattern, value in dict(config.get("alpha_pattern") or {}).items():
            if re.match(rf"(?:.*\.)?(?:{pattern})$", module):
                alpha = float(value)
                break
    except (TypeError, ValueError, re.error) as error:
        raise CheckpointError(
            f"{label}: lora_alpha or alpha_pattern cannot be read: {first_line(error)}"
        ) from error
    rank = down.shape[0]
    if rank == 0 or not math.isfinite(alpha):
        raise CheckpointError(f"{label}: {module} has rank {rank} and lora_alpha {alpha}")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
