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
from evolution.bank.task_vectors import LowRank, TaskVector, inner, projections
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
            stored[f"cross.{name}"] = _cross(name, anchors, basis, known)
        norms = [
            known.norms[name] if known else torch.linalg.vector_norm(base[name].double()).item()
            for name in layout.matrices
        ]
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
    for name, block in layout.tensor_blocks.items():
        vectors = {place: each[name] for place, each in enumerate(anchors) if name in each}
        if not any(place >= old for place in vectors):
            continue
        gram[block] += _of_low_rank(vectors, count, old)
        for i, first in vectors.items():
            for j, second in vectors.items():
                both = isinstance(first, LowRank) and isinstance(second, LowRank)
                if i >= max(j, old) and not both:
                    gram[block, i, j] += inner(first, second)
    lower = gram.tril(-1)
    gram = gram.tril() + lower.transpose(1, 2)
    if known:
        gram[:, :old, :old] = torch.from_numpy(known.gram)
    return gram


def _of_low_rank(vectors: Mapping[int, TaskVector], count: int, old: int) -> Tensor:
    """(anchors, anchors), rows of the new ones: products of factors are never formed."""
    low = {place: each for place, each in vectors.items() if isinstance(each, LowRank)}
    products = torch.zeros(count, count, dtype=torch.float64)
    if not any(place >= old for place in low):
        return products
    up = torch.cat([each.up.double() * each.scale for each in low.values()], dim=1)
    down = torch.cat([each.down.double() for each in low.values()])
    owner = torch.cat([torch.full((len(v.down),), place) for place, v in low.items()])
    new = (owner >= old).to(up.device)
    factors = ((up[:, new].T @ up) * (down[new] @ down.T)).cpu()
    rows = torch.zeros(count, factors.shape[1], dtype=torch.float64)
    rows.index_add_(0, owner[owner >= old], factors)
    return products.index_add_(1, owner, rows)


def _cross(
    name: str,
    anchors: Sequence[Mapping[str, TaskVector]],
    basis: SpectralBasis,
    known: Geometry | None,
) -> Tensor:
    """(anchors, rank) float64; zero rows for anchors that leave the matrix as it is."""
    cross = torch.zeros(len(anchors), len(basis.values), dtype=torch.float64)
    old = known.anchors if known else 0
    if known:
        cross[:old] = torch.from_numpy(known.cross[name])
    for row, vectors in enumerate(anchors):
        if row >= old and name in vectors:
            cross[row] = projections(vectors[name], basis.left, basis.right).cpu()
    return cross
