"""What a merge by RegMean takes, from the shapes of a model alone."""

from __future__ import annotations

from dataclasses import dataclass

from evolution.bank.layout import Layout

_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What one merge takes.

    Attributes:
        memory: bytes, for the widest layer, beside the bank.
        operations: multiplications and additions.
    """

    memory: int
    operations: int


def plan_merge(layout: Layout, members: int, tokens: int) -> MergePlan:
    """Plan a merge. Matrices of a layer that are equally wide are taken to share their inputs.

    Args:
        layout: of the architecture.
        members: how many experts are merged.
        tokens: that each of them reads.
    """
    memory = operations = 0
    for block in range(len(layout.blocks)):
        shapes = [layout.shapes[n] for n in layout.matrices if layout.tensor_blocks[n] == block]
        if not shapes:
            continue
        weights = sum(rows * columns for rows, columns in shapes)
        squares = [columns**2 for _, columns in shapes]
        widest = sum(columns for _, columns in shapes)
        needed = _FLOAT32 * (weights + members * (max(squares) + tokens * widest))
        memory = max(memory, needed + 2 * _FLOAT64 * max(squares))
        operations += members * tokens * 2 * (weights + sum(set(squares)))
        operations += sum(columns**3 for columns in {c for _, c in shapes})
    return MergePlan(memory, operations)
