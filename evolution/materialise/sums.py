"""One tensor of an expert as a sum of terms, evaluated piece by piece.

    W = A0 + sum_i l_i T_i + up @ down + noise

All low-rank terms of a tensor (LoRA anchors and displacement) are concatenated into `up` and
`down`, so that a single product adds them. It is made piece by piece, in a float32 buffer that
stays in the cache; so are sums that one pass does not finish. Others go straight to their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.bank.task_vectors import Dense
from evolution.genome.noise import Noise
from evolution.materialise.fusion import adds_in_one_pass, combine, combine_all
from evolution.materialise.native import Range, Residual

PIECE = 1 << 20
"""Elements of a piece: its float32 buffer stays in the cache. Results do not depend on it."""

_FEWEST_ROWS = 64
"""A matrix product of fewer rows is slow."""


@dataclass(frozen=True)
class Sum:
    """The terms of one tensor.

    Attributes:
        base: in the dtype of the experts.
        dense: (coefficient, full difference), in the order of the anchors.
        factors: `up` and `down`, float32; None if nothing of low rank is added.
        noise: what is drawn and added last.
    """

    base: Float[Tensor, " ..."]
    dense: tuple[tuple[float, Dense], ...] = ()
    factors: tuple[Float[Tensor, "m r"], Float[Tensor, "r n"]] | None = None
    noise: Noise | None = None

    @property
    def is_base(self) -> bool:
        """Whether nothing is added to the base."""
        return not self.dense and self.factors is None and self.noise is None

    def write(self, out: Float[Tensor, " ..."], fused: bool = False) -> None:
        """Evaluate into a contiguous tensor on the same device, rounding once to its dtype."""
        scratch = Scratch()
        whole = fused and adds_in_one_pass(out, self.base)
        for piece in pieces(self, out, whole=whole):
            piece.evaluate(fused, scratch)


class Scratch:
    """Float32 buffers that are used again: fresh pages from the system cost more than the sums."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, purpose: str, size: int, device: torch.device) -> Float[Tensor, " n"]:
        """That many numbers, undefined, until the next call for the same purpose."""
        buffer = self._buffers.get(purpose)
        if buffer is None or buffer.numel() < size or buffer.device != device:
            buffer = torch.empty(size, dtype=torch.float32, device=device)
            self._buffers[purpose] = buffer
        return buffer[:size]


@dataclass(frozen=True)
class Piece:
    """A range of one tensor's elements, whole rows where something of low rank is added.

    Attributes:
        out: where the result goes.
        base: of the base.
        coefficients: one for each full difference.
        vectors: their values.
        residuals: those in this range.
        up: rows of the first factor, or None.
        down: the second factor, or None.
        noise: of the whole tensor, or None.
        start: place of the first element in the tensor.
    """

    out: Float[Tensor, " n"]
    base: Float[Tensor, " n"]
    coefficients: tuple[float, ...]
    vectors: tuple[Float[Tensor, " n"], ...]
    residuals: tuple[Residual, ...]
    up: Float[Tensor, "rows r"] | None
    down: Float[Tensor, "r columns"] | None
    noise: Noise | None = None
    start: int = 0

    def evaluate(self, fused: bool, scratch: Scratch) -> None:
        """Write the sum into its place.

        Args:
            fused: whether a kernel may be compiled for it.
            scratch: shared by pieces that are evaluated one after the other.
        """
        product, device = self._product(scratch), self.out.device
        in_one_pass = product is None or (fused and adds_in_one_pass(self.out, self.base))
        total = self.out
        if total.dtype != torch.float32 and (self.noise is not None or not in_one_pass):
            total = scratch.take("total", total.numel(), device)
        combine(self._range()._replace(out=total, product=product), fused)
        if self.noise is not None:
            self.noise.add_to(total, self.start)
        if total is not self.out:
            self.out.copy_(total)

    @property
    def plain(self) -> Range | None:
        """What is summed, if full differences are all that is added."""
        return self._range() if self.up is None and self.noise is None else None

    def _range(self) -> Range:
        parts = self.vectors, self.coefficients, self.residuals
        return Range(self.out, self.base, *parts, self.start)

    def _product(self, scratch: Scratch) -> Float[Tensor, " n"] | None:
        if self.up is None or self.down is None:
            return None
        buffer = scratch.take("product", self.out.numel(), self.out.device)
        torch.mm(self.up, self.down, out=buffer.view(self.up.shape[0], self.down.shape[1]))
        return buffer


def evaluate_all(work: Iterable[Piece], fused: bool) -> None:
    """Evaluate pieces that are all in memory; the caller needs no single one early.

    Plain sums are left to the end and go to the compiled loop together, see `combine_all`. A
    product is added at once, while it is in the cache.

    Args:
        work: none is written that another one reads.
        fused: as of `Piece.evaluate`.
    """
    scratch, left = Scratch(), list[Range]()
    for piece in work:
        plain = piece.plain if fused else None
        if plain is None:
            piece.evaluate(fused, scratch)
        else:
            left.append(plain)
    combine_all(left)


def pieces(
    total: Sum, out: Float[Tensor, " ..."], most: int | None = None, whole: bool = False
) -> Iterator[Piece]:
    """Cut a tensor into pieces that together are all of it.

    Args:
        total: what goes there.
        out: contiguous, in the shape of the base; may be on another device.
        most: elements of a piece; by default `PIECE`, or everything in one piece where no buffer is
            needed.
        whole: residuals need none either, see `adds_in_one_pass`.
    """
    size = out.numel()
    if not size:
        return
    columns, step = 1, most or PIECE
    if total.factors is not None:
        columns = total.factors[1].shape[1]
        step = max(_FEWEST_ROWS, step // columns) * columns
    elif most is None and not _needs_more(total, whole):
        step = size
    flat, base = out.view(-1), total.base.view(-1)
    if step >= size and total.factors is None:
        yield _whole(total, flat, base)
        return
    starts = range(0, size, step)
    marks = [_marks(vector, [*starts, size]) for _, vector in total.dense]
    for number, start in enumerate(starts):
        end = min(start + step, size)
        residuals = [
            (coefficient, vector.index[first:last], vector.residual[first:last])
            for (coefficient, vector), mark in zip(total.dense, marks, strict=True)
            for first, last in [mark[number : number + 2]]
            if last > first
        ]
        up, down = total.factors or (None, None)
        yield Piece(
            flat[start:end],
            base[start:end],
            tuple(coefficient for coefficient, _ in total.dense),
            tuple(vector.values.view(-1)[start:end] for _, vector in total.dense),
            tuple(residuals),
            None if up is None else up[start // columns : end // columns],
            down,
            total.noise,
            start,
        )


def _whole(total: Sum, flat: Tensor, base: Tensor) -> Piece:
    """All of a tensor: of a model's many small ones, slices would cost more than sums."""
    coefficients, vectors, residuals = [], [], []
    for coefficient, vector in total.dense:
        coefficients.append(coefficient)
        vectors.append(vector.values.view(-1))
        if vector.index.numel():
            residuals.append((coefficient, vector.index, vector.residual))
    parts = tuple(coefficients), tuple(vectors), tuple(residuals)
    return Piece(flat, base, *parts, None, None, total.noise)


def _needs_more(total: Sum, whole: bool) -> bool:
    """Whether, full differences aside, something is added that takes memory of its own."""
    exact = whole or not any(vector.index.numel() for _, vector in total.dense)
    return total.noise is not None or not exact


def _marks(vector: Dense, bounds: list[int]) -> list[int]:
    """How many of the residuals, sorted by position, lie before each bound."""
    if not vector.index.numel():
        return [0] * len(bounds)
    edges = torch.tensor(bounds, device=vector.index.device)
    marks: list[int] = torch.searchsorted(vector.index, edges).tolist()
    return marks
