"""The names under which a checkpoint holds a model's tensors, where transformers holds others.

transformers stacks the experts of mixture-of-experts layers into one tensor, and names some modules
anew; files keep to the names of the first checkpoint, which other programs read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

from evolution.bank.bank import Bank

Shape = tuple[int, ...]


class Storage:
    """How the tensors of a bank's experts are stored.

    Attributes:
        architecture: name of the model's class, as in a configuration.
        shapes: name in a checkpoint -> shape, in the order of the model.
    """

    def __init__(self, bank: Bank) -> None:
        config = copy.deepcopy(bank.config)
        config.dtype = bank.dtype
        with torch.device("meta"):
            self._model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
        empty = {
            name: torch.empty(shape, dtype=bank.dtype, device="meta")
            for name, shape in bank.layout.shapes.items()
        }
        # Asked once for all: transformers walks the whole model each time it is asked.
        stored: Mapping[str, Tensor] = revert_weight_conversion(self._model, dict(empty))
        self._others = {name for name, tensor in empty.items() if stored.get(name) is not tensor}
        self.architecture = type(self._model).__name__
        self.shapes: Mapping[str, Shape] = {
            name: tuple(part.shape) for name, part in self.named(empty.items())
        }

    def named(
        self, tensors: Iterable[tuple[str, Float[Tensor, " ..."]]]
    ) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
        """Tensors under the names of a checkpoint, where stacked experts are stored one by one."""
        for name, tensor in tensors:
            if name in self._others:
                parts: Mapping[str, Tensor] = revert_weight_conversion(self._model, {name: tensor})
                yield from parts.items()
            else:
                yield name, tensor
