"""Full checkpoints: Hugging Face folders, read one tensor at a time and checked before use."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from evolution.bank.layout import Layout, describe
from evolution.errors import CheckpointError, IncompatibleError
from memory.messages import first_line

_log = logging.getLogger(__name__)

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_GENERATION = "generation_config.json"
_PLAIN = ("BF16", "F16", "F32", "F64")
_SAME = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "norm_eps",
    "attention_bias",
    "attention_multiplier",
    "embedding_multiplier",
    "residual_multiplier",
    "logits_scaling",
    "logit_scale",
    "final_logit_softcapping",
    "attn_logit_softcapping",
    "query_pre_attn_scalar",
    "use_sliding_window",
)
"""What every model computes with; experts compute with the base's."""
_DIFFER_FREELY = frozenset(
    {
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "auto_map",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "hidden_dropout",
        "initializer_range",
        "max_position_embeddings",
        "pad_token_id",
        "pretraining_tp",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "vocab_size",
    }
)
"""What changes no logit, or is compared by the tensors themselves."""
_VOCABULARY_TOLERANCE = 0.01
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError)


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
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{label} has neither config.json nor adapter_config.json")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if (folder / _GENERATION).is_file():
            generation = GenerationConfig.from_pretrained(folder)
        else:
            generation = GenerationConfig.from_model_config(config)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{label}: config.json cannot be read: {first_line(error)}"
        ) from error
    if getattr(config, "quantization_config", None):
        raise CheckpointError(
            f"{label} is quantised (quantization_config): experts are sums of plain weights; save "
            "it dequantised (transformers: model.dequantize()), without quantization_config"
        )
    layout = describe(config, label)
    files = _weight_files(folder, label)
    if set(layout.shapes) - set(files):
        # Stored under other names than the model's: only transformers knows how they map.
        tensors = _load_whole(folder, label)
        _check_tied(layout, tensors, tensors.__getitem__, label)
        return Checkpoint(label, folder, config, generation, layout, tensors.__getitem__)
    _check_tied(layout, files, lambda tensor: _read(files[tensor], tensor), label)
    _warn_of_strangers(layout, files, label)
    for tensor, shape in layout.shapes.items():
        found = _stored_shape(files[tensor], tensor, label)
        if found != shape:
            raise CheckpointError(
                f"{label}: tensor {tensor} has shape {found}, but config.json implies {shape}"
            )

    def read(tensor: str) -> Tensor:
        return _read(files[tensor], tensor)

    return Checkpoint(label, folder, config, generation, layout, read)


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
    for key in _SAME:
        ours, theirs = getattr(seed.config, key, None), getattr(base.config, key, None)
        if ours != theirs:
            raise IncompatibleError(
                f"{seed.label} has {key} = {ours}, {base.label} has {theirs}: "
                "seeds must share one architecture"
            )
    others = _other_settings(seed.config, base.config)
    if others:
        _log.warning(
            "%s and %s have different %s; experts use those of the base",
            seed.label,
            base.label,
            ", ".join(others),
        )
    _check_vocabulary(seed, base)


def _other_settings(seed: Any, base: Any) -> list[str]:
    """Keys of two configurations that differ and may change what is computed."""
    ours, theirs = seed.to_dict(), base.to_dict()
    return [
        key for key in sorted({*ours, *theirs} - _DIFFER_FREELY) if ours.get(key) != theirs.get(key)
    ]


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


def _vocabulary(checkpoint: Checkpoint) -> Mapping[str, int]:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)
    found: Mapping[str, int] = tokenizer.get_vocab()
    return found


def _check_vocabulary(seed: Checkpoint, base: Checkpoint) -> None:
    """Equal shapes do not make equal vocabularies: the same token must have the same number."""
    if not any((seed.folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        return
    try:
        ours, theirs = _vocabulary(seed), _vocabulary(base)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{seed.label}: its tokenizer cannot be read: {first_line(error)}"
        ) from error
    moved = [token for token, number in ours.items() if theirs.get(token, -1) != number]
    if len(moved) > _VOCABULARY_TOLERANCE * len(theirs):
        token = moved[0]
        raise IncompatibleError(
            f"{seed.label} and {base.label} have different vocabularies: token {token!r} is number "
            f"{ours[token]} in one and {theirs.get(token, 'none')} in the other"
        )


def _weight_files(folder: Path, label: str) -> dict[str, Path]:
    """Tensor name -> safetensors file that holds it; empty if there are no safetensors.

    As in transformers, a whole file comes before an index of shards that lies beside it.
    """
    index = folder / _INDEX
    if index.is_file() and not (folder / _SINGLE).is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            shards = sorted({folder / str(file) for file in named.values()})
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{label}: {_INDEX} is damaged: {first_line(error)}") from error
    else:
        shards = [folder / _SINGLE] if (folder / _SINGLE).is_file() else []
    if not shards and not any(folder.glob("*.bin")):
        raise CheckpointError(f"{label} holds no weights: {_SINGLE} is missing")
    return {name: shard for shard in shards for name in _names(shard, label)}


def _names(file: Path, label: str) -> Iterator[str]:
    try:
        with safe_open(file, framework="pt") as stored:
            yield from stored.keys()
    except (OSError, SafetensorError) as error:
        raise _damaged(file, label, error) from error


def _stored_shape(file: Path, name: str, label: str) -> tuple[int, ...]:
    try:
        with safe_open(file, framework="pt") as stored:
            found = stored.get_slice(name)
            shape, dtype = tuple(found.get_shape()), str(found.get_dtype())
    except (OSError, SafetensorError) as error:
        raise _damaged(file, label, error) from error
    if dtype not in _PLAIN:
        raise CheckpointError(
            f"{label}: tensor {name} is stored as {dtype}, whose values need scales: save the "
            f"checkpoint as one of {', '.join(_PLAIN)}"
        )
    return shape


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
    strangers = [name for name in files if name not in {*layout.shapes, *layout.aliases}]
    if strangers:
        _log.warning(
            "%s: tensors that are no part of the architecture are left out, as in transformers: %s",
            label,
            ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else ""),
        )


def _damaged(file: Path, label: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{label}: {file.name} is missing or damaged: {first_line(error)}")


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as stored:
        tensor: Tensor = stored.get_tensor(name)
        return tensor


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
