"""The layout of an architecture: its tensors, their blocks, and which of them mutate.

Nothing here knows an architecture by name: tensors are identified by their names and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from evolution.bank.files import UNREADABLE
from evolution.errors import CheckpointError
from memory.messages import first_line

EMBEDDINGS, HEAD = "embeddings", "head"

_LAYER = re.compile(r"(?:^|\.)(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:\w*embed\w*|wte|wpe)\.")


@dataclass(frozen=True)
class Layout:
    """The tensors of an architecture. Tensors that are tied appear once, under their first name.

    Attributes:
        shapes: tensor name -> shape, in the order of the model.
        aliases: name of a tied tensor -> name of the one that it shares its weights with.
        blocks: `embeddings`, `layers.0`, ..., `head`: the rows of a genome.
        tensor_blocks: tensor name -> index of its block.
        matrices: names of the 2-D projections within layers, which mutate by default.
    """

    shapes: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, str]
    blocks: tuple[str, ...]
    tensor_blocks: Mapping[str, int]
    matrices: tuple[str, ...]


def describe(config: Any, label: str) -> Layout:
    """The layout of the causal language model with this configuration; no weights are made.

    Args:
        config: of transformers.
        label: what the checkpoint is called in an error message.

    Raises:
        CheckpointError: transformers knows no causal language model of this kind.
    """
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except UNREADABLE as error:
        kind = getattr(config, "model_type", "?")
        raise CheckpointError(
            f"{label}: config.json ({kind}) describes no causal language model known to "
            f"transformers: "
            f"{first_line(error)}"
        ) from error
    shapes: dict[str, tuple[int, ...]] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not tensor.is_floating_point():
            continue
        owner = first.setdefault(id(tensor), name)
        if owner == name:
            shapes[name] = tuple(tensor.shape)
        else:
            aliases[name] = owner
    names = {name: block_name(name) for name in shapes}
    blocks = tuple(dict.fromkeys(sorted(names.values(), key=_position)))
    return Layout(
        shapes=shapes,
        aliases=aliases,
        blocks=blocks,
        tensor_blocks={name: blocks.index(block) for name, block in names.items()},
        matrices=tuple(
            name
            for name, shape in shapes.items()
            if len(shape) == 2 and name.endswith("weight") and names[name].startswith("layers.")
        ),
    )


def block_name(tensor: str) -> str:
    """The block of a tensor: its layer if it has a number, else embeddings or head."""
    layer = _LAYER.search(tensor)
    if layer:
        return f"layers.{layer[1]}"
    return EMBEDDINGS if _EMBEDDING.search(tensor) else HEAD


def _position(block: str) -> tuple[int, int]:
    if block == EMBEDDINGS:
        return (0, 0)
    return (2, 0) if block == HEAD else (1, int(block.removeprefix("layers.")))
