"""Writing an expert straight into the layers of vLLM's model on a CPU.

There vLLM packs the weights of linear layers and throws the originals away. Its own reloading takes
every layer apart, keeps copies of all that it is fed, and puts the layer together again. Here each
tensor is summed into a buffer in the shape of its layer, fused or not, which vLLM packs as soon as
it is full, and which the next layer of that shape is summed into. That is done for models all of
whose weights are in layers that are known here, and whose own loading takes tensors as they are:
some models bring rows into another order there. A witness looks at what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

from evolution.bank.bank import Bank
from evolution.engines.vllm.witness import Witness, heads, sources_of, tied_weights
from evolution.genome.genome import Genome
from evolution.materialise.weights import write_to

Shape = tuple[int, ...]


@dataclass(eq=False)
class Slot:
    """A parameter of vLLM, and the tensors that it is put together of.

    Attributes:
        module: its owner.
        attribute: its name there.
        shape: of the parameter.
        rows: name of a tensor -> its first row, and the row behind its last.
        heads: what makes logits with it, and is packed for that.
        missing: tensors that are still to come.
    """

    module: Any
    attribute: str
    shape: Shape
    rows: Mapping[str, tuple[int, int]]
    heads: Sequence[Any] = ()
    missing: set[str] = field(default_factory=set)

    @property
    def is_packed(self) -> bool:
        """Whether the owner computes with something else than its parameter."""
        return isinstance(self.module, LinearBase) and self.attribute == "weight"


class Packer:
    """Writes experts of one bank into one model.

    Args:
        model: of vLLM, on a CPU.
        shapes: tensor name -> shape, of the bank.

    Attributes:
        reaches_all: whether every tensor has a place; if not, nothing may be written.
    """

    def __init__(self, model: Any, shapes: Mapping[str, Shape]) -> None:
        self._slots: dict[str, Slot] = {}
        self._free: dict[Shape, list[Tensor]] = {}
        for slot in _slots(model, shapes):
            self._slots |= dict.fromkeys(slot.rows, slot)
        self.reaches_all = self._slots.keys() == shapes.keys() and _derives_nothing(model)

    def write(self, bank: Bank, genome: Genome, witness: Witness) -> None:
        """Write an expert.

        Args:
            bank: with tensors of those shapes.
            genome: the expert.
            witness: is shown every tensor.
        """
        buffers: dict[Slot, Tensor] = {}

        def place(name: str) -> Tensor:
            slot = self._slots[name]
            if slot not in buffers:
                slot.missing = set(slot.rows)
                buffers[slot] = self._buffer(slot)
            first, end = slot.rows[name]
            part = buffers[slot][first:end]
            # What vLLM computes in another format is rounded as everything is, then converted.
            return part if part.dtype == bank.dtype else torch.empty_like(part, dtype=bank.dtype)

        for name, tensor in write_to(bank, genome, place):
            slot = self._slots[name]
            witness.keep(name, tensor)
            first, end = slot.rows[name]
            if tensor.dtype != buffers[slot].dtype:
                buffers[slot][first:end] = tensor
            slot.missing.remove(name)
            if not slot.missing:
                self._pack(slot, buffers.pop(slot))

    def _buffer(self, slot: Slot) -> Float[Tensor, " rows ..."]:
        """The parameter itself where it is still there, else a buffer in its shape."""
        parameter: Tensor = getattr(slot.module, slot.attribute)
        if parameter.numel():
            return parameter.data
        free = self._free.setdefault(slot.shape, [])
        return free.pop() if free else torch.empty(slot.shape, dtype=parameter.dtype)

    def _pack(self, slot: Slot, full: Tensor) -> None:
        if slot.is_packed:
            with ExitStack() as failed:
                # A layer that is not packed to the end is left as vLLM's own reloading expects it.
                failed.callback(setattr, slot.module, "weight", slot.module.weight)
                if not slot.module.weight.numel():
                    slot.module.weight = Parameter(full, requires_grad=False)
                slot.module.quant_method.process_weights_after_loading(slot.module)
                failed.pop_all()
            if not slot.module.weight.numel():
                self._free[slot.shape].append(full)
        for head in slot.heads:
            head.quant_method.process_weights_after_loading(head)


def _slots(model: Any, shapes: Mapping[str, Shape]) -> list[Slot]:
    """The parameters for which there are tensors of the right shapes."""
    packed, tied = getattr(model, "packed_modules_mapping", {}), tied_weights(model)
    packed_from: dict[str, list[Any]] = {}
    for name, head in heads(model):
        weight = f"{name}.weight"
        packed_from.setdefault(tied.get(weight, weight), []).append(head)
    found = []
    for owner, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            name = f"{owner}.{attribute}"
            shape = _shape(module, attribute, parameter)
            if name in tied or shape is None:
                continue
            sources = sources_of(name, packed)
            if not all(source in shapes for source in sources):
                continue
            if any(not shapes[each] or shapes[each][1:] != shape[1:] for each in sources):
                continue
            rows, first = {}, 0
            for source in sources:
                rows[source] = first, first + shapes[source][0]
                first += shapes[source][0]
            # A vocabulary may be padded; everything else has to be full.
            padded = isinstance(module, VocabParallelEmbedding) and first <= shape[0]
            if first == shape[0] or padded:
                found.append(Slot(module, attribute, shape, rows, packed_from.get(name, ())))
    return found


def _shape(module: Any, attribute: str, parameter: Tensor) -> Shape | None:
    """Shape of a parameter, also of one that was thrown away; None where it is not known here."""
    if isinstance(module, LinearBase):
        if not isinstance(module.quant_method, UnquantizedLinearMethod):
            return None
        if attribute == "weight":
            return module.output_size, module.input_size
        return tuple(parameter.shape)
    if isinstance(module, VocabParallelEmbedding):
        return tuple(parameter.shape) if attribute == "weight" else None
    return tuple(parameter.shape) if parameter.ndim == 1 else None


def _derives_nothing(model: Any) -> bool:
    """Whether no module computes, after loading, something of its own from weights."""
    return all(
        isinstance(module, Attention)
        for module in model.modules()
        if hasattr(module, "process_weights_after_loading")
    )
