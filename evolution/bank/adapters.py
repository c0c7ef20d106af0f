"""LoRA adapters in the format of PEFT, read as factors."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evolution.bank.adapter_config import CONFIG, read_adapter_config
from evolution.bank.files import check_files
from evolution.bank.fingerprint import tensors_hash
from evolution.bank.layout import Layout
from evolution.bank.task_vectors import LowRank
from evolution.errors import CheckpointError, IncompatibleError
from memory.hashing import json_hash
from memory.messages import first_line

WEIGHTS = "adapter_model.safetensors"

_log = logging.getLogger(__name__)

_FACTOR = re.compile(r"^base_model\.model\.(.+)\.lora_([AB])\.weight$")


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


def read_adapter(folder: Path, label: str, layout: Layout, base_names: Sequence[str]) -> Adapter:
    """Read an adapter and check it against the architecture of the base.

    Args:
        folder: in the format of PEFT.
        label: what the adapter is called in messages.
        layout: of the base.
        base_names: what the base may be called.

    Raises:
        CheckpointError: damaged, missing, or of a kind that has no factors.
        IncompatibleError: names the tensor and the two shapes.
    """
    check_files(folder, label)
    config = read_adapter_config(folder, label)
    pairs = _factor_pairs(_read_weights(folder, label), label)
    for module, factors in sorted(pairs.items()):
        if set(factors) != {"A", "B"}:
            raise CheckpointError(f"{label}: {module} has only one of lora_A and lora_B")
        _check_shapes(label, f"{module}.weight", factors["B"], factors["A"], layout)
    if not pairs:
        raise CheckpointError(f"{label}: {folder / WEIGHTS} holds no LoRA factors")
    scales = config.scales({module: len(factors["A"]) for module, factors in pairs.items()})
    vectors = {
        f"{module}.weight": LowRank(
            pairs[module]["B"].float().contiguous(), pairs[module]["A"].float().contiguous(), scale
        )
        for module, scale in sorted(scales.items())
    }
    config.warn_of_another_base(base_names)
    if any(folder.glob("model*.safetensors")):
        _log.warning("%s holds a full model too: it is read as an adapter, as in PEFT", label)
    factors_hash = tensors_hash(
        (f"{name}.{part}", getattr(vector, part))
        for name, vector in vectors.items()
        for part in ("up", "down")
    )
    return Adapter(vectors, json_hash([factors_hash, {n: v.scale for n, v in vectors.items()}], 32))


def _read_weights(folder: Path, label: str) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.exists():
        raise CheckpointError(
            f"{label}: {WEIGHTS} is missing or damaged: no such file; pickles (adapter_model.bin) "
            "are not read, they can run code: where you trust them, load the adapter with PEFT and "
            "save it again (save_pretrained writes safetensors)"
        )
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
