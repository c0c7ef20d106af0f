"""Full checkpoints: Hugging Face folders, read one tensor at a time and checked before use."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig

from evolution.bank.files import UNREADABLE, read_config, read_json
from evolution.bank.layout import Layout, describe
from evolution.bank.stored import stored_weights
from evolution.errors import CheckpointError, IncompatibleError
from memory.messages import first_line

_log = logging.getLogger(__name__)

_GENERATION = "generation_config.json"
_DIFFER_FREELY = frozenset(
    {
        "_name_or_path",
        "architectures",
        "auto_map",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "id2label",
        "initializer_range",
        "label2id",
        "max_position_embeddings",
        "max_window_layers",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "return_dict",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "slow_but_exact",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "vocab_size",
    }
)
"""What changes no logit, or is compared by the tensors themselves (or, as `max_window_layers`, by
what transformers makes of it)."""
_FREE_ENDINGS = ("dropout", "_pdrop", "dropout_prob")
_ROPES_BY_LENGTH = ("dynamic", "longrope", "yarn")
"""Rotary embeddings that depend on the longest context."""


@dataclass(frozen=True)
class Checkpoint:
    """A full checkpoint whose tensors are all there, in the shapes that its configuration implies.

    Attributes:
        label: what it is called in messages: name and folder.
        config: of transformers.
        generation: of transformers; names the tokens that end an answer.
        read: gives a tensor by name, in the dtype in which it is stored.
    """

    label: str
    folder: Path
    config: Any
    generation: Any
    layout: Layout
    read: Callable[[str], Tensor]

    def tensor(self, name: str, dtype: torch.dtype) -> Tensor:
        """A tensor in the dtype of the experts; a tied one is read under its other name.

        Raises:
            CheckpointError: it cannot be read, or holds values that are not finite.
        """
        try:
            tensor = self.read(self.layout.aliases.get(name, name)).to(dtype)
        except UNREADABLE as error:
            raise CheckpointError(
                f"{self.label}: tensor {name} cannot be read: {first_line(error)}"
            ) from error
        if not tensor.isfinite().all():
            raise CheckpointError(f"{self.label}: tensor {name} holds values that are not finite")
        return tensor.contiguous()


def open_checkpoint(folder: Path, name: str) -> Checkpoint:
    """Open a Hugging Face folder and check that it is whole; hardly any weights are read yet.

    Raises:
        CheckpointError: one line that names the file or tensor that is missing or damaged.
    """
    label = f"{name} ({folder})"
    config = read_config(folder, label)
    generation = _generation(folder, config, label)
    if getattr(config, "quantization_config", None):
        raise CheckpointError(
            f"{label} is quantised (quantization_config): experts are sums of plain weights; save "
            "it dequantised (transformers: model.dequantize()), without quantization_config"
        )
    stored = stored_weights(folder, label)
    layout = describe(config, label)
    missing = [tensor for tensor in layout.shapes if tensor not in stored.files]
    if missing:
        # Stored under other names than the model's: only transformers knows how they map.
        implied = sum(map(math.prod, layout.shapes.values()))
        if 2 * stored.elements() < implied:
            raise CheckpointError(
                f"{label}: tensor {missing[0]} is missing from its files, which hold less than "
                f"half of the {implied:,} weights that config.json implies"
            )
        tensors = _load_whole(folder, label)
        _check_tied(layout, tensors, tensors.__getitem__, label)
        return Checkpoint(label, folder, config, generation, layout, tensors.__getitem__)
    for tensor, shape in layout.shapes.items():
        found = stored.shape(tensor)
        if found != shape:
            raise CheckpointError(
                f"{label}: tensor {tensor} has shape {found}, but config.json implies {shape}"
            )
    _check_tied(layout, stored.files, stored.read, label)
    _warn_of_strangers(layout, stored.files, label)
    return Checkpoint(label, folder, config, generation, layout, stored.read)


def _generation(folder: Path, config: Any, label: str) -> Any:
    """The generation configuration that transformers would take."""
    try:
        if not (folder / _GENERATION).is_file():
            return GenerationConfig.from_model_config(config)
        read_json(folder / _GENERATION, label)
        return GenerationConfig.from_pretrained(folder)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{label}: {_GENERATION} cannot be read: {first_line(error)}"
        ) from error


def check_compatible(seed: Checkpoint, base: Checkpoint) -> None:
    """Refuse a seed of another architecture, other shapes or another vocabulary than the base.

    Raises:
        IncompatibleError: names the tensor and the two shapes.
    """
    for name, expected in base.layout.shapes.items():
        found = seed.layout.shapes.get(seed.layout.aliases.get(name, name))
        if found != expected:
            raise IncompatibleError(_differs(seed, base, name, found, expected))
    for name, found in seed.layout.shapes.items():
        if name not in base.layout.shapes:
            raise IncompatibleError(_differs(seed, base, name, found, None))
    ours, theirs = _computing(seed.config), _computing(base.config)
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    known = [key for key in differing if _is_known(base.config, key)]
    if known:
        named = ", ".join(f"{key} = {ours.get(key)} (not {theirs.get(key)})" for key in known)
        raise IncompatibleError(
            f"{seed.label} differs from {base.label} in {named}: seeds must share one "
            "architecture, and experts compute as the base does"
        )
    if differing:
        _log.warning(
            "%s and %s have different %s; experts use those of the base",
            seed.label,
            base.label,
            ", ".join(differing),
        )
    own, wanted = (_ends(each.generation) for each in (seed, base))
    if own != wanted:
        _log.warning(
            "%s and %s name other end tokens, %s and %s; experts stop where the base does",
            seed.label,
            base.label,
            own,
            wanted,
        )


def _ends(generation: Any) -> list[Any]:
    named = getattr(generation, "eos_token_id", None)
    return sorted(named, key=str) if isinstance(named, list) else [named]


def _computing(config: Any) -> dict[str, Any]:
    """What a configuration says of how logits are computed."""
    stated = config.to_dict()
    rope = stated.get("rope_parameters") or {}
    kinds = [rope.get("rope_type"), *(v.get("rope_type") for v in rope.values() if _is_table(v))]
    kept = {"max_position_embeddings"} if {*kinds} & {*_ROPES_BY_LENGTH} else set()
    return {
        key: value
        for key, value in stated.items()
        if key in kept or not (key in _DIFFER_FREELY or key.endswith(_FREE_ENDINGS))
    }


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_known(config: Any, key: str) -> bool:
    """Whether a key means something to transformers: others are kept, and change nothing."""
    return key == "model_type" or key in {field.name for field in dataclasses.fields(config)}


def _differs(
    seed: Checkpoint,
    base: Checkpoint,
    name: str,
    found: tuple[int, ...] | None,
    expected: tuple[int, ...] | None,
) -> str:
    return (
        f"{seed.label} does not fit {base.label}: tensor {name} has shape {found or 'none'}, "
        f"expected {expected or 'none'}; seeds must share architecture and vocabulary"
    )


def _check_tied(
    layout: Layout, stored: Collection[str], read: Callable[[str], Tensor], label: str
) -> None:
    """A tied tensor may be stored twice, but then it must be the same.

    Raises:
        CheckpointError: names the two that differ; transformers would untie them.
    """
    for name, owner in layout.aliases.items():
        if name not in stored:
            continue
        one, other = read(name), read(owner)
        if one.shape != other.shape or not torch.equal(one, other):
            raise CheckpointError(
                f"{label}: {name} is stored and differs from {owner}, though config.json ties "
                'them: set "tie_word_embeddings": false there, in the base and in every seed'
            )


def _warn_of_strangers(layout: Layout, files: Mapping[str, Path], label: str) -> None:
    known = {*layout.shapes, *layout.aliases}
    strangers = [name for name in files if name not in known]
    if strangers:
        _log.warning(
            "%s: tensors that are no part of the architecture are left out, as in transformers: %s",
            label,
            ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else ""),
        )


def _load_whole(folder: Path, label: str) -> dict[str, Tensor]:
    """All tensors of a checkpoint that only transformers can read.

    Raises:
        CheckpointError: names the first tensor that is missing or of another shape.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except UNREADABLE as error:
        raise CheckpointError(f"{label}: weights cannot be read: {first_line(error)}") from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(f"{label}: tensor {missing[0]} is missing from its files")
    for name, found, expected in report["mismatched_keys"]:
        raise CheckpointError(
            f"{label}: tensor {name} has shape {tuple(found)}, "
            f"but config.json implies {tuple(expected)}"
        )
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}
