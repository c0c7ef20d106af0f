"""Task vectors of single tensors, `T = A - A0`: as LoRA factors, or as a difference in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

_CHUNK = 1 << 22
"""Elements that are widened to float64 at a time."""

_MANY = 0.25
"""Share of elements that need a residual beyond which float32 throughout is smaller."""


@dataclass(frozen=True)
class LowRank:
    """`scale * up @ down`: what a LoRA adapter adds to one matrix. Factors are float32."""

    up: Float[Tensor, "m r"]
    down: Float[Tensor, "r n"]
    scale: float

    def to(self, device: torch.device) -> LowRank:
        """The same on another device."""
        return LowRank(self.up.to(device), self.down.to(device), self.scale)


@dataclass(frozen=True)
class Dense:
    """A full difference.

    A bf16 difference is exact enough where it is no larger than the weight it leads to. In the few
    places where the base nearly cancels it, its rounding error would exceed the resolution of that
    small weight: there the float32 `residual` is added, at flat positions `index`.

    Attributes:
        values: bf16; float32 where most positions would need a residual.
    """

    values: Float[Tensor, " ..."]
    index: Int64[Tensor, " k"]
    residual: Float[Tensor, " k"]

    def to(self, device: torch.device) -> Dense:
        """The same on another device."""
        return Dense(self.values.to(device), self.index.to(device), self.residual.to(device))

    def chunks(self) -> Iterator[tuple[int, Float64[Tensor, "rows columns"]]]:
        """(first row, some rows in float64), over all rows; a vector counts as one column."""
        rows = self.values.reshape(self.values.shape[0], -1)
        step = max(1, _CHUNK // rows.shape[1])
        for start in range(0, len(rows), step):
            part = rows[start : start + step].double()
            offset = start * rows.shape[1]
            ends = torch.tensor([offset, offset + part.numel()], device=self.index.device)
            first, last = torch.searchsorted(self.index, ends).tolist()
            part.view(-1)[self.index[first:last] - offset] += self.residual[first:last].double()
            yield start, part


TaskVector = LowRank | Dense


def difference(anchor: Tensor, base: Tensor) -> Dense | None:
    """Task vector of a full checkpoint; None if the tensors are equal.

    Both are given in the dtype of the experts: base plus difference gives back the anchor within
    one unit in the last place of bf16.
    """
    if torch.equal(anchor, base):
        return None
    values = torch.empty(anchor.shape, dtype=torch.bfloat16, device=base.device)
    flat = values.view(-1)
    indices: list[Tensor] = []
    residuals: list[Tensor] = []
    for start in range(0, len(flat), _CHUNK):
        target = anchor.view(-1)[start : start + _CHUNK].double()
        exact = target - base.view(-1)[start : start + _CHUNK].double()
        rough = exact.to(torch.bfloat16)
        error = exact - rough.double()
        # Half a unit in the last place of bf16 is at least 2^-9 of the number itself.
        where = (error.abs() > target.abs() * 2.0**-9).nonzero().view(-1)
        flat[start : start + _CHUNK] = rough
        indices.append(where + start)
        residuals.append(error[where].float())
    index, residual = torch.cat(indices), torch.cat(residuals)
    if len(index) > _MANY * values.numel():
        return Dense(anchor.float() - base.float(), index[:0], residual[:0])
    return Dense(values, index, residual)


def inner(a: TaskVector, b: TaskVector) -> float:
    """Frobenius inner product, in float64; products of factors are never formed."""
    if isinstance(a, LowRank) and isinstance(b, LowRank):
        left = a.up.double().T @ b.up.double()
        right = a.down.double() @ b.down.double().T
        return a.scale * b.scale * float((left * right).sum())
    if isinstance(a, LowRank):
        return inner(b, a)
    total = 0.0
    if isinstance(b, LowRank):
        up, down = b.up.double(), b.down.double()
        for start, part in a.chunks():
            rows = up[start : start + len(part)].T @ part
            total += b.scale * float((rows * down).sum())
        return total
    for (_, part), (_, other) in zip(a.chunks(), b.chunks(), strict=True):
        total += float((part * other).sum())
    return total


def projections(
    vector: TaskVector, left: Float[Tensor, "m r"], right: Float[Tensor, "n r"]
) -> Float64[Tensor, " r"]:
    """`u_k^T T v_k` for every pair of singular vectors, in float64."""
    left, right = left.double(), right.double()
    if isinstance(vector, LowRank):
        inward = vector.down.double() @ right
        outward = vector.up.double().T @ left
        return vector.scale * (inward * outward).sum(dim=0)
    total = torch.zeros(left.shape[1], dtype=torch.float64, device=left.device)
    for start, part in vector.chunks():
        total += (left[start : start + len(part)] * (part @ right)).sum(dim=0)
    return total
