"""The geometry of a bank: Gram matrices and projections, computed once and cached by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evolution.bank.cache import load_cached, save_cached
from evolution.bank.layout import Layout
from evolution.bank.spectral import SpectralBasis
from evolution.bank.task_vectors import TaskVector, inner, projections
from evolution.genome.geometry import Geometry


def measure(
    layout: Layout,
    base: Mapping[str, Tensor],
    anchors: Sequence[Mapping[str, TaskVector]],
    bases: Mapping[str, SpectralBasis],
    seeds: int,
    path: Path,
    known: Geometry | None = None,
) -> Geometry:
    """Measure a bank.

    Args:
        layout: of the architecture.
        base: tensor name -> base weights.
        anchors: task vectors of each anchor, by tensor name.
        bases: spectral bases by matrix name; may be empty.
        seeds: how many of the anchors are seeds.
        path: file in the cache, named by the content of everything above.
        known: of the first of these anchors, which need not be measured again.
    """
    stored = load_cached(path)
    if stored is None or len(stored["norms"]) != len(layout.matrices):
        stored = {"gram": _gram(layout, anchors, known)}
        for name, basis in bases.items():
            stored[f"cross.{name}"] = _cross(name, anchors, basis)
        norms = [torch.linalg.vector_norm(base[name].double()).item() for name in layout.matrices]
        stored["norms"] = torch.tensor(norms, dtype=torch.float64)
        save_cached(path, stored)
    return Geometry(
        blocks=layout.blocks,
        gram=stored["gram"].numpy(),
        cross={name: stored[f"cross.{name}"].numpy() for name in bases},
        matrix_blocks={name: layout.tensor_blocks[name] for name in layout.matrices},
        singular_values={
            name: basis.values.cpu().numpy().astype(np.float64) for name, basis in bases.items()
        },
        norms=dict(zip(layout.matrices, stored["norms"].tolist(), strict=True)),
        sizes={name: base[name].numel() for name in layout.matrices},
        seeds=seeds,
    )


def _gram(
    layout: Layout, anchors: Sequence[Mapping[str, TaskVector]], known: Geometry | None
) -> Tensor:
    """(blocks, anchors, anchors) float64."""
    count, old = len(anchors), known.anchors if known else 0
    gram = torch.zeros(len(layout.blocks), count, count, dtype=torch.float64)
    if known:
        gram[:, :old, :old] = torch.from_numpy(known.gram)
    for name, block in layout.tensor_blocks.items():
        for i, first in enumerate(anchors):
            for j, second in enumerate(anchors[: i + 1] if i >= old else ()):
                if name in first and name in second:
                    product = inner(first[name], second[name])
                    gram[block, i, j] += product
                    if i != j:
                        gram[block, j, i] += product
    return gram


def _cross(name: str, anchors: Sequence[Mapping[str, TaskVector]], basis: SpectralBasis) -> Tensor:
    """(anchors, rank) float64; zero rows for anchors that leave the matrix as it is."""
    cross = torch.zeros(len(anchors), len(basis.values), dtype=torch.float64)
    for row, vectors in enumerate(anchors):
        if name in vectors:
            cross[row] = projections(vectors[name], basis.left, basis.right).cpu()
    return cross
