"""One tensor of an expert as a sum of terms, evaluated piece by piece.

    W = A0 + sum_i l_i T_i + up @ down + noise

All low-rank terms of a tensor (LoRA anchors and displacement) are concatenated into `up` and
`down`, so that a single `addmm` adds them. Where there are full differences alone, the result goes
straight into its place; else a piece is summed in a float32 buffer that stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.fusion import adds_in_passing, combine
from evolution.native import Residual
from evolution.noise import Noise
from evolution.task_vectors import Dense

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
        whole = fused and adds_in_passing(out.device)
        for piece in pieces(self, out, whole=whole):
            piece.evaluate(fused, scratch)


class Scratch:
    """A float32 buffer that is used again: fresh pages from the system cost more than the sums."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def take(self, size: int, device: torch.device) -> Float[Tensor, " n"]:
        """That many numbers, undefined, until the next call."""
        if len(self._buffer) < size or self._buffer.device != device:
            self._buffer = torch.empty(size, dtype=torch.float32, device=device)
        return self._buffer[:size]


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
        total, more = self.out, self.up is not None or self.noise is not None
        if more and total.dtype != torch.float32:
            total = scratch.take(len(total), total.device)
        terms = self.vectors, self.coefficients
        combine(total, self.base, *terms, fused, self.residuals, self.start)
        if self.up is not None and self.down is not None:
            total.view(len(self.up), -1).addmm_(self.up, self.down)
        if self.noise is not None:
            self.noise.add_to(total, self.start)
        if total is not self.out:
            self.out.copy_(total)


def pieces(
    total: Sum, out: Float[Tensor, " ..."], most: int | None = None, whole: bool = False
) -> Iterator[Piece]:
    """Cut a tensor into pieces that together are all of it.

    Args:
        total: what goes there.
        out: contiguous, in the shape of the base; may be on another device.
        most: elements of a piece; by default `PIECE`, or everything at once where no buffer is
            needed.
        whole: residuals need none either, as `adds_in_passing` says.
    """
    size = out.numel()
    columns, step = 1, most or PIECE
    if total.factors is not None:
        columns = total.factors[1].shape[1]
        step = max(_FEWEST_ROWS, step // columns) * columns
    elif most is None and not _needs_more(total, whole):
        step = size
    flat, base = out.view(-1), total.base.view(-1)
    starts = range(0, size, max(step, 1))
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
            _range(flat, start, end),
            _range(base, start, end),
            tuple(coefficient for coefficient, _ in total.dense),
            tuple(_range(vector.values.view(-1), start, end) for _, vector in total.dense),
            tuple(residuals),
            None if up is None else up[start // columns : end // columns],
            down,
            total.noise,
            start,
        )


def _range(flat: Tensor, start: int, end: int) -> Tensor:
    """All of it as it is: of a model's many small tensors, slices cost more than sums."""
    return flat if len(flat) == end - start else flat[start:end]


def _needs_more(total: Sum, whole: bool) -> bool:
    """Whether, full differences aside, something is added that takes memory of its own."""
    exact = whole or not any(len(vector.index) for _, vector in total.dense)
    return total.noise is not None or not exact


def _marks(vector: Dense, bounds: list[int]) -> list[int]:
    """How many of the residuals, sorted by position, lie before each bound."""
    if not len(vector.index):
        return [0] * len(bounds)
    if len(bounds) <= 2:
        return [0, len(vector.index)]
    edges = torch.tensor(bounds, device=vector.index.device)
    marks: list[int] = torch.searchsorted(vector.index, edges).tolist()
    return marks
