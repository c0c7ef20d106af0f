"""A witness of swaps: compares the weights in use with those that were given.

On a CPU vLLM packs the weights of linear layers into opaque blobs and throws the originals away, so
there is nothing left to hash. But a unit vector that goes through a layer comes out as one column
of the matrix that the layer really multiplies by: products with 0 and 1 are exact in every dtype.
So a few columns of every matrix are kept as its tensors go by, and afterwards the layers are asked
for them. The same holds on a GPU, where weights are fused, and with a head that is tied.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.vocab_parallel_embedding import (
    ParallelLMHead,
    VocabParallelEmbedding,
)

_COLUMNS = 8
"""Columns of each matrix that are looked at."""
_TABLES = (VocabParallelEmbedding, torch.nn.Embedding)
"""Embeddings of tokens, and of positions."""
_FLUSHED = 1e-30
"""Below this, kernels may round to zero."""


@dataclass(frozen=True)
class Findings:
    """What the witness found.

    Attributes:
        seen: number of tensors that the engine was seen to compute with.
        unseen: tensors for which it has no place that the witness knows.
        differing: tensors that are others than those that were fed.
        unclear: tensors whose layer gave values that are not finite. One infinite weight spoils
            its whole row, so this is right if what was fed is not finite either.
    """

    seen: int
    unseen: tuple[str, ...]
    differing: tuple[str, ...]
    unclear: tuple[str, ...]


class Witness:
    """Watches one swap."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def watch(self, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Pass tensors on, and keep some columns of each; vectors are kept as a whole."""
        for name, tensor in tensors:
            self.keep(name, tensor)
            yield name, tensor

    def keep(self, name: str, tensor: Float[Tensor, " ..."]) -> None:
        """Keep some columns of a tensor, or all of a vector."""
        if tensor.ndim > 1:
            # Indexing copies already.
            self._kept[name] = tensor[..., _columns(tensor.shape[-1], tensor.device)]
        else:
            self._kept[name] = tensor.clone()

    @torch.no_grad()
    def judge(self, model: Any) -> Findings:
        """Compare the engine's model with what went by.

        Args:
            model: of vLLM, on one device.
        """
        packed, tied = getattr(model, "packed_modules_mapping", {}), tied_weights(model)
        seen: set[str] = set()
        differing: set[str] = set()
        unclear: set[str] = set()
        for name, found in _computed_with(model):
            sources = [s for s in sources_of(tied.get(name, name), packed) if s in self._kept]
            # Rows beyond those that were fed are padding of the vocabulary.
            sizes = [len(self._kept[source]) for source in sources]
            parts = torch.split(found[: sum(sizes)], sizes) if sources else ()
            for source, part in zip(sources, parts, strict=True):
                seen.add(source)
                if not _same(part, self._kept[source]):
                    (differing if part.isfinite().all() else unclear).add(source)
        unseen = tuple(name for name in self._kept if name not in seen)
        return Findings(len(seen), unseen, tuple(sorted(differing)), tuple(sorted(unclear)))


def sources_of(name: str, packed: Mapping[str, list[str]]) -> list[str]:
    """Names of the tensors that a parameter of vLLM was put together of."""
    owner, _, part = name.rpartition(".")
    # A head has no owner: its name has no dot in front.
    parent, dot, module = owner.rpartition(".")
    return [f"{parent}{dot}{piece}.{part}" for piece in packed.get(module, [module])]


def tied_weights(model: Any) -> dict[str, str]:
    """Name of a tied weight -> name under which it is fed: that of its first owner."""
    owners: dict[int, str] = {}
    tied: dict[str, str] = {}
    for module_name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor):
            name = f"{module_name}.weight"
            first = owners.setdefault(id(weight), name)
            if first != name:
                tied[name] = first
    return tied


def heads(model: Any) -> list[tuple[str, Any]]:
    """Name and module of what makes logits: the heads, or else the embeddings, as in Gemma 2."""
    tables = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, VocabParallelEmbedding)
    ]
    return [each for each in tables if isinstance(each[1], ParallelLMHead)] or tables


@functools.lru_cache(maxsize=64)
def _columns(width: int, device: torch.device) -> Int[Tensor, " columns"]:
    return torch.linspace(0, width - 1, min(_COLUMNS, width), device=device).long()


def _computed_with(model: Any) -> Iterator[tuple[str, Float[Tensor, "rows ..."]]]:
    """(parameter name, what the layer computes with): columns of matrices, all of vectors."""
    probed = set()
    for name, head in heads(model):
        yield f"{name}.weight", _probe(head, head.embedding_dim)
        probed.add(f"{name}.weight")
    for name, module in model.named_modules():
        weight = f"{name}.weight"
        if isinstance(module, LinearBase):
            yield weight, _probe(module, module.input_size)
            probed.add(weight)
        elif isinstance(module, _TABLES) and not isinstance(module, ParallelLMHead):
            # Rows are looked up in the parameter itself, also where a head has packed it.
            yield weight, module.weight[:, _columns(module.embedding_dim, module.weight.device)]
    for name, parameter in model.named_parameters():
        if name not in probed and parameter.ndim == 1:
            yield name, parameter


def _probe(module: Any, width: int) -> Float[Tensor, "rows columns"]:
    """Columns of the matrix that a layer multiplies by, whatever form it is kept in."""
    units = _units(width, module.weight.dtype, module.weight.device)
    found: Tensor = module.quant_method.apply(module, units, bias=None)
    return found.T


@functools.lru_cache(maxsize=64)
def _units(width: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "columns width"]:
    columns = _columns(width, device)
    units = torch.zeros(len(columns), width, dtype=dtype, device=device)
    units[torch.arange(len(columns)), columns] = 1.0
    return units


def _same(found: Tensor, expected: Tensor) -> bool:
    if found.dtype == expected.dtype and torch.equal(found, expected):
        return True
    return bool(((found.float() - expected.float()).abs() <= _FLUSHED).all())
