"""Turn genomes into weights: one fused pass over the bank, tensor by tensor (DESIGN section 4).

    W = A0 + sum_i l_i T_i + U diag(delta) V^T

summed in float32 and rounded once. All low-rank terms of a tensor (LoRA anchors and displacement)
are concatenated, so that a single `addmm` adds them. Extra memory is about one tensor in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.anchors import Anchor
from evolution.bank import Bank
from evolution.fingerprint import tensors_hash
from evolution.genome import Genome
from evolution.noise import add_noise
from evolution.task_vectors import LowRank


def materialise(bank: Bank, genome: Genome, model: Any) -> None:
    """Write an expert's weights into a model, in place; tied weights stay tied.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        model: of `bank.model()`, on any device.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, weights in weigh(bank, genome, next(model.parameters()).device):
            state[name].copy_(weights)


def weigh(
    bank: Bank, genome: Genome, device: torch.device | None = None
) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
    """An expert's tensors under their transformers names, in the order of the model.

    They are float32 where something was added, and the base's own tensors, not to be written to,
    where nothing was. Tied tensors come once.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        device: where to compute; where the bank is by default.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    # Taken once: an anchor that is grafted on meanwhile is no part of this genome.
    anchors = bank.anchors
    fitted = bank.geometry.fit(genome)
    place = bank.device if device is None else device
    for name, block in bank.layout.tensor_blocks.items():
        coefficients = fitted.coefficients[block].tolist()
        delta = fitted.displacements.get(name)
        displacement = None if delta is None else torch.from_numpy(delta.copy()).to(place)
        with torch.no_grad():
            weights = _weigh_tensor(bank, anchors, name, coefficients, displacement, place)
            yield name, add_noise(weights, name, bank.geometry.noise_terms(fitted, name))


def rounded(bank: Bank, genome: Genome) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
    """As `weigh`, in the dtype of the experts: what an engine or a file is given."""
    for name, weights in weigh(bank, genome):
        yield name, weights.to(bank.dtype)


def checksum(model: Any, stride: int = 1) -> str:
    """Hash of a model's weights: it proves that a swap has happened.

    Args:
        model: of `bank.model()`.
        stride: look at every `stride`-th weight only.
    """
    seen: set[int] = set()
    pairs: list[tuple[str, Tensor]] = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and id(tensor) not in seen:
            seen.add(id(tensor))
            pairs.append((name, tensor))
    return tensors_hash(pairs, stride)


def expected_checksum(bank: Bank, genome: Genome, stride: int = 1) -> str:
    """What `checksum` gives for a model that this expert was materialised in."""
    return tensors_hash(rounded(bank, genome), stride)


def _weigh_tensor(
    bank: Bank,
    anchors: Sequence[Anchor],
    name: str,
    coefficients: list[float],
    displacement: Float[Tensor, " r"] | None,
    device: torch.device,
) -> Float[Tensor, " ..."]:
    terms = [
        (coefficient, anchor.vectors[name].to(device))
        for coefficient, anchor in zip(coefficients, anchors, strict=False)
        if coefficient != 0.0 and name in anchor.vectors
    ]
    base = bank.base[name].to(device)
    if not terms and displacement is None:
        return base
    total = base.to(torch.float32, copy=True)
    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for coefficient, vector in terms:
        if isinstance(vector, LowRank):
            ups.append(vector.up * (coefficient * vector.scale))
            downs.append(vector.down)
        else:
            vector.add_to(total, coefficient)
    if displacement is not None:
        basis = bank.bases[name].to(device)
        ups.append(basis.left * displacement)
        downs.append(basis.right.T)
    if ups:
        total.addmm_(torch.cat(ups, dim=1), torch.cat(downs, dim=0))
    return total
