"""Turn genomes into weights: one fused pass over the bank, tensor by tensor.

    W = A0 + sum_i l_i T_i + U diag(delta) V^T + noise

summed in float32 and rounded once. What goes through memory is the bank, once, and the weights;
the sums stay in the cache, so extra memory is a few MiB however large the model. A genome gives the
same bits whatever the number of threads, and whichever function below is asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.fingerprint import tensors_hash
from evolution.bank.spectral import SpectralBasis
from evolution.bank.task_vectors import Dense, LowRank
from evolution.genome.genome import Genome
from evolution.genome.noise import Noise
from evolution.materialise.fusion import adds_in_one_pass
from evolution.materialise.native import takes
from evolution.materialise.streaming import STAGED, moved, staged
from evolution.materialise.sums import Piece, Scratch, Sum, evaluate_all, pieces

_WORTH_COMPILING = 1 << 26
"""Elements of full differences from which seconds of compiling are soon won back."""


def materialise(bank: Bank, genome: Genome, model: Any) -> None:
    """Write an expert's weights into a model, in place; tied weights stay tied.

    Where the model is on a GPU and the bank is not, the bank is streamed there. A model that
    computes in another number format gets the same weights, rounded to the bank's and converted.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        model: of `bank.model()`, on any device.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    state = model.state_dict(keep_vars=True)
    fused = _is_worth_compiling(bank)
    with torch.no_grad():
        if model.dtype != bank.dtype:
            _write_converted(bank, genome, state, fused)
            return
        work = ((total, state[name].detach()) for name, total in sums_of(bank, genome))
        arriving = _in_place(work, fused)
        if model.device == bank.device:
            evaluate_all(arriving, fused)
        else:
            scratch = Scratch()
            for piece in arriving:
                piece.evaluate(fused, scratch)


def weigh(
    bank: Bank,
    genome: Genome,
    device: torch.device | None = None,
    names: Collection[str] | None = None,
) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
    """An expert's tensors under their transformers names, in the order of the model.

    They are float32 where something was added, and the base's own tensors, not to be written to,
    where nothing was. Tied tensors come once.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        device: where to compute; where the bank is by default.
        names: of the tensors that are wanted; all of them by default.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    return _made(bank, genome, torch.float32, device, names)


def rounded(
    bank: Bank,
    genome: Genome,
    device: torch.device | None = None,
    names: Collection[str] | None = None,
) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
    """As `weigh`, in the dtype of the experts: what an engine or a file is given."""
    return _made(bank, genome, bank.dtype, device, names)


def write_to(
    bank: Bank, genome: Genome, place: Callable[[str], Float[Tensor, " ..."]]
) -> Iterator[tuple[str, Float[Tensor, " ..."]]]:
    """Write an expert's tensors where a caller wants each, in the order of the model.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        place: tensor name -> where it goes, contiguous, in its shape; asked for one at a time.

    Yields:
        Name and tensor, as soon as it is written.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    fused, scratch = _is_worth_compiling(bank), Scratch()
    for name, total in sums_of(bank, genome):
        out = place(name)
        _write(total, out, fused, scratch)
        yield name, out


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


def expected_checksum(
    bank: Bank, genome: Genome, stride: int = 1, device: torch.device | None = None
) -> str:
    """What `checksum` gives for a model that this expert was materialised in.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        stride: as of `checksum`.
        device: of that model; where the bank is by default. A GPU sums low-rank terms in another
            order than a CPU.
    """
    return tensors_hash(rounded(bank, genome, device), stride)


def lacks_loop(bank: Bank) -> bool:
    """Whether a compiled loop would save time with this bank on a CPU, and none can be made."""
    sample = torch.empty(0, dtype=bank.dtype)
    return takes(sample) and _is_worth_compiling(bank) and not adds_in_one_pass(sample)


def _made(
    bank: Bank,
    genome: Genome,
    dtype: torch.dtype,
    device: torch.device | None,
    names: Collection[str] | None,
) -> Iterator[tuple[str, Tensor]]:
    """New tensors, one at a time; the base's own where nothing is added."""
    fused = _is_worth_compiling(bank)
    place = bank.device if device is None else device
    scratch = Scratch()
    for name, total in sums_of(bank, genome, names):
        if total.is_base:
            yield name, total.base.to(place)
            continue
        out = torch.empty(total.base.shape, dtype=dtype, device=place)
        _write(total, out, fused, scratch)
        yield name, out


def _write_converted(bank: Bank, genome: Genome, state: Mapping[str, Tensor], fused: bool) -> None:
    """Into a model of another number format: each tensor is rounded in a buffer on the way."""
    largest = max(tensor.numel() for tensor in bank.base.values())
    buffer = torch.empty(largest, dtype=bank.dtype, device=next(iter(state.values())).device)
    scratch = Scratch()
    for name, total in sums_of(bank, genome):
        rounded_sum = total.base
        if not total.is_base:
            rounded_sum = buffer[: total.base.numel()].view(total.base.shape)
            _write(total, rounded_sum, fused, scratch)
        state[name].copy_(rounded_sum)


def _write(total: Sum, out: Tensor, fused: bool, scratch: Scratch) -> None:
    with torch.no_grad():
        for piece in _in_place(iter([(total, out)]), fused):
            piece.evaluate(fused, scratch)


def _in_place(work: Iterator[tuple[Sum, Tensor]], fused: bool) -> Iterator[Piece]:
    """All pieces of all tensors, their terms brought to where the result goes."""
    first = next(work, None)
    if first is None:
        return
    here, there = first[0].base.device, first[1].device

    def cut(most: int | None) -> Iterator[Piece]:
        for total, out in chain([first], work):
            yield from pieces(total, out, most, fused and adds_in_one_pass(out, total.base))

    if here == there:
        yield from cut(None)
    elif there.type == "cuda":
        yield from staged(cut(STAGED), there)
    else:
        for piece in cut(STAGED):
            yield moved(piece, there)


def _is_worth_compiling(bank: Bank) -> bool:
    vectors = (vector for anchor in bank.anchors for vector in anchor.held)
    elements = sum(vector.values.numel() for vector in vectors if isinstance(vector, Dense))
    return elements >= _WORTH_COMPILING


def sums_of(
    bank: Bank, genome: Genome, names: Collection[str] | None = None
) -> Iterator[tuple[str, Sum]]:
    """Name of every tensor that is wanted, in the order of the model, and its terms, not yet added.

    Raises:
        GenomeError: the genome does not fit the bank.
    """
    # Taken once: an anchor that is grafted on meanwhile is no part of this genome.
    anchors = bank.anchors
    fitted, spectral = bank.geometry.fit(genome), bank.spectral_root
    for name, block in bank.layout.tensor_blocks.items():
        if names is not None and name not in names:
            continue
        coefficients = fitted.coefficients[block].tolist()
        delta = fitted.displacements.get(name)
        displacement = None
        if delta is not None:
            displacement = bank.bases[name], torch.from_numpy(delta.copy()).to(bank.device)
        with torch.no_grad():
            total = _sum(bank.base[name], anchors, name, coefficients, displacement, spectral)
        terms = bank.geometry.noise_terms(fitted, name) if fitted.noise else ()
        yield name, replace(total, noise=Noise(name, terms)) if terms else total


def _sum(
    base: Tensor,
    anchors: Sequence[Anchor],
    name: str,
    coefficients: Sequence[float],
    displacement: tuple[SpectralBasis, Float[Tensor, " r"]] | None,
    spectral: str,
) -> Sum:
    dense: list[tuple[float, Dense]] = []
    alike: dict[str, list[tuple[float, LowRank]]] = {}
    for coefficient, anchor in zip(coefficients, anchors, strict=False):
        vector = anchor.vectors.get(name) if coefficient else None
        if vector is None:
            continue
        if isinstance(vector, LowRank):
            alike.setdefault(anchor.left, []).append((coefficient * vector.scale, vector))
        else:
            dense.append((coefficient, vector))
    if displacement is not None and spectral in alike:
        basis, delta = displacement
        alike[spectral].append((1.0, LowRank(basis.left, delta[:, None] * basis.right.T, 1.0)))
    factors = [_added_up(vectors) for vectors in alike.values()]
    if displacement is not None and spectral not in alike:
        basis, delta = displacement
        factors.append((basis.left * delta, basis.right.T))
    if len(factors) > 1:
        ups, downs = zip(*factors, strict=True)
        factors = [(torch.cat(ups, dim=1), torch.cat(downs, dim=0))]
    return Sum(base, tuple(dense), factors[0] if factors else None)


def _added_up(vectors: Sequence[tuple[float, LowRank]]) -> tuple[Tensor, Tensor]:
    """The factors of a weighted sum of task vectors that have their left factors in common."""
    weight, vector = vectors[0]
    if len(vectors) == 1:
        return vector.up * weight, vector.down
    down = vector.down * weight
    for weight, other in vectors[1:]:
        down = down + other.down * weight
    return vector.up, down
