"""Linear layers on a CPU, in the order in which oneDNN multiplies them.

By itself PyTorch hands a matrix over as it is, and the library sorts it for every product. A pass
of a few rows then takes two to three times as long, one of hundreds a tenth longer. So an expert's
matrices are sorted once, while it is materialised, and kept in no other form.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise, rounded


class PackedLinear(torch.nn.Module):
    """A linear layer whose matrix only oneDNN can read.

    Args:
        like: the layer whose place it takes.
    """

    def __init__(self, like: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = like.in_features, like.out_features
        self.bias = like.bias
        self._packed: Tensor | None = None

    def pack(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Take over a matrix, in the number format that is computed in."""
        self._packed = None
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(self, inputs: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """The product with the matrix, plus the bias if there is one."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._packed, self.bias, "none", [], ""
        )
        return outputs


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch on this CPU packs matrices of such a format."""
    layer = PackedLinear(torch.nn.Linear(16, 16, dtype=dtype))
    try:
        layer.pack(torch.eye(16, dtype=dtype))
        layer(torch.ones(4, 16, dtype=dtype))
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


class ModelWeights:
    """The weights of a model that experts are written into, one after the other.

    Args:
        model: of `bank.model()`; on a CPU its linear layers are replaced by packed ones.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers: dict[str, list[PackedLinear]] = {}
        self._as_base: set[str] = set()
        if model.device.type == "cpu" and can_pack(model.dtype):
            self._replace_layers()

    @torch.no_grad()
    def write(self, bank: Bank, genome: Genome) -> None:
        """Write an expert; what it shares with the one before, as part of the base, stays.

        Raises:
            GenomeError: the genome does not fit the bank.
        """
        if not self._layers:
            materialise(bank, genome, self._model)
            return
        state = self._model.state_dict(keep_vars=True)
        for name, tensor in rounded(bank, genome):
            is_base = tensor is bank.base[name]
            if is_base and name in self._as_base:
                continue
            self._as_base.discard(name)
            layers = self._layers.get(name)
            if layers:
                matrix = tensor.to(self._model.dtype)
                for layer in layers:
                    layer.pack(matrix)
            if name in state:
                state[name].copy_(tensor)
            if is_base:
                self._as_base.add(name)

    def _replace_layers(self) -> None:
        """Tied weights have the name of their first owner, as in the bank."""
        names = {id(weight): name for name, weight in self._model.named_parameters()}
        for owner in list(self._model.modules()):
            for name, layer in list(owner.named_children()):
                if type(layer) is torch.nn.Linear:
                    packed = PackedLinear(layer)
                    self._layers.setdefault(names[id(layer.weight)], []).append(packed)
                    setattr(owner, name, packed)
