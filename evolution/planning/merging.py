"""What merges by RegMean take, from the shapes of a model alone: memory, arithmetic, anchors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evolution.bank.layout import EMBEDDINGS, Layout

_BF16, _FLOAT32, _FLOAT64 = 2, 4, 8

_DOUBLE = 2
"""How much longer an operation in float64 takes than one in float32."""

_RANK = 64
"""Of what is merged in a matrix, if all of it is of low rank: of a few seeds and spectral bases."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What one merge takes.

    Attributes:
        memory: bytes at the peak, beside the bank and the anchors that come of it.
        operations: multiplications and additions, those in float64 counted as often as they take
            longer than those in float32.
    """

    memory: int
    operations: int


@dataclass(frozen=True, slots=True)
class Merging:
    """What the merges of a run take.

    Attributes:
        members: experts in one merge.
        memory: bytes of one merge, beside bank and engine.
        anchors: bytes of what all merges add to the bank, at most.
    """

    members: int
    memory: int
    anchors: int


def plan_merge(
    layout: Layout, members: int, tokens: int, dense: bool = False, item: int = _FLOAT32
) -> MergePlan:
    """Plan a merge; a few percent off where matrices share inputs in another way than is taken.

    Taken is that two matrices of a layer that are equally wide share one input: queries, keys and
    values do, and the output has one of its own.

    Args:
        layout: of the architecture.
        members: how many experts are merged.
        tokens: that each of them reads.
        dense: whether members are full checkpoints, or have noise: not of low rank.
        item: bytes of a number that layers compute with.
    """
    outer = [math.prod(layout.shapes[name]) for name in _outer(layout)]
    held = item * sum(outer)
    memory = operations = 0
    for block in range(len(layout.blocks)):
        shapes = [layout.shapes[n] for n in layout.matrices if layout.tensor_blocks[n] == block]
        if not shapes:
            continue
        inputs = {n: (count + 1) // 2 for n, count in Counter(n for _, n in shapes).items()}
        widest, width = max(inputs), min(inputs)
        read = item * members * tokens * sum(n * count for n, count in inputs.items())
        # What enters the layer and what leaves it; what it is given is that of the layer before.
        flow = 2 * item * members * tokens * width
        weights = item * sum(m * n for m, n in shapes)
        solving = max(_solving(shapes, n, members, tokens, dense) for n in inputs)
        memory = max(memory, weights + flow + read + max(read, solving))
        operations += members * tokens * sum(2 * m * n for m, n in shapes)
        operations += members * tokens * sum(count * n * n for n, count in inputs.items())
        operations += _DOUBLE * sum(count * n**3 // 3 for n, count in inputs.items())
        along = sum(2 * (m if dense else min(_RANK, m)) * n * n for m, n in shapes)
        operations += _DOUBLE * (members + 1) * along
        memory = max(memory, weights + flow + read + _FLOAT64 * widest**2)
    if dense:
        # What has no inputs is averaged, one tensor at a time, and embeddings are large.
        memory = max(memory, (members * _FLOAT32 + 3 * _FLOAT64) * max(outer, default=0))
    return MergePlan(held + memory, operations)


def added_anchors(columns: Sequence[int], merges: int, most: int) -> int:
    """Bytes that merges add to the bank, at most.

    Args:
        columns: bytes of each anchor of one merge.
        merges: how many there will be.
        most: how many anchors all merges of a run may add.
    """
    if not columns:
        return 0
    return min(merges, most // len(columns)) * sum(columns)


def _outer(layout: Layout) -> list[str]:
    """Tensors that read the tokens, and stay in memory while the layers come and go."""
    return [n for n, block in layout.tensor_blocks.items() if layout.blocks[block] == EMBEDDINGS]


def _solving(
    shapes: Sequence[tuple[int, ...]], width: int, members: int, tokens: int, dense: bool
) -> int:
    """Bytes while what is added to the matrices of one input is solved for.

    Gram matrices in float32; their sum in float64 beside its factor, or the factor beside one of
    them in float64; the rows of which they are made, in one piece.
    """
    grams = members * _FLOAT32 * width**2 + 2 * _FLOAT64 * width**2
    if not dense:
        return grams + _FLOAT32 * tokens * width
    sizes = [m * n for m, n in shapes if n == width]
    return grams + members * _FLOAT32 * sum(sizes) + 4 * _FLOAT64 * max(sizes)
