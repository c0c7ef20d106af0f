"""Crossovers: arithmetic on genomes, from which no weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry
from evolution.registry import Child, crossover

_SHARE_LIMITS = (-0.5, 1.5)
_PARALLEL = 0.9995

Sigma = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


@crossover("linear")
def linear(
    parents: Sequence[Genome], geometry: Geometry, rng: np.random.Generator, *, sigma: Sigma = 0.5
) -> Child:
    """`(w1 a + w2 b) / (w1 + w2)` with w ~ N(1, sigma), one weight per parent.

    AC/DC paper, M.1; a random average of fine-tunes (model soups, Wortsman et al. 2022, arXiv
    2203.05482).

    Drawn again while a share lies outside [-0.5, 1.5]: near `w1 + w2 = 0` the quotient explodes.
    """
    low, high = _SHARE_LIMITS
    while True:
        weights = rng.normal(1.0, sigma, size=2)
        total = weights.sum()
        if total == 0.0:
            continue
        shares = weights / total
        if low <= shares.min() and shares.max() <= high:
            break
    return geometry.blend(parents, _rows(shares, geometry)), {"shares": shares.tolist()}


@crossover("task_arithmetic")
def task_arithmetic(
    parents: Sequence[Genome],
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    mean: Finite = 0.9,
    sigma: Sigma = 0.3,
) -> Child:
    """`w1 a + w2 b` with w ~ N(mean, sigma), not normalised: reaches beyond the average.

    Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089).
    Displacements are averaged; added up they would only be more noise.
    """
    weights = rng.normal(mean, sigma, size=2)
    halves = np.full(2, 0.5)
    child = geometry.blend(parents, _rows(weights, geometry), _rows(halves, geometry))
    return child, {"weights": weights.tolist()}


@crossover("slerp")
def slerp(
    parents: Sequence[Genome],
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    weight: Share | None = None,
) -> Child:
    """Spherical interpolation of the full task vectors, one angle per block over all its tensors.

    Shoemake 1985, "Animating rotation with quaternion curves", applied to task vectors
    and not to weights, which lie almost in parallel.

    Args:
        parents: two genomes.
        geometry: of the bank.
        rng: draws the weight if none is given.
        weight: 0 is the first parent, 1 the second.
    """
    drawn = rng.uniform() if weight is None else weight
    shares = np.full(len(geometry.blocks), drawn)
    return geometry.blend(parents, _slerp_weights(parents, geometry, shares)), {"weight": drawn}


@crossover("split_slerp")
def split_slerp(
    parents: Sequence[Genome],
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    weight: Share | None = None,
) -> Child:
    """Slerp by `weight` before a random block and by `1 - weight` from it on.

    The split-point crossover of M2N2 (Abrantes et al. 2025, arXiv 2508.16204), its
    split between blocks and not between single parameters.
    """
    drawn = rng.uniform() if weight is None else weight
    blocks = len(geometry.blocks)
    split = int(rng.integers(1, max(blocks, 2)))
    shares = np.where(np.arange(blocks) < split, drawn, 1.0 - drawn)
    child = geometry.blend(parents, _slerp_weights(parents, geometry, shares))
    return child, {"weight": drawn, "split": split}


@crossover("differential_evolution", parents=3)
def differential_evolution(
    parents: Sequence[Genome],
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    factor: Finite = 0.5,
) -> Child:
    """`a + factor (b - c)`: extrapolates along the difference of two other experts.

    The mutant vector of differential evolution (Storn and Price 1997), as used on LLM
    weights by Du et al. 2024 (arXiv 2406.12208).
    """
    weights = np.array([1.0, factor, -factor])
    return geometry.blend(parents, _rows(weights, geometry)), {"factor": factor}


@crossover("uniform_layers")
def uniform_layers(
    parents: Sequence[Genome],
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    probability: Share = 0.5,
) -> Child:
    """Each block whole from one parent; `probability` is the chance of the second.

    Uniform crossover (Syswerda 1989) with layers as genes.
    """
    second = rng.random(len(geometry.blocks)) < probability
    weights = np.stack([~second, second]).astype(np.float64)
    return geometry.blend(parents, weights), {"from_second": int(second.sum())}


def _rows(weights: Float64[np.ndarray, " parents"], geometry: Geometry) -> np.ndarray:
    """(parents, blocks): the same weights in every block."""
    return np.repeat(weights[:, None], len(geometry.blocks), axis=1)


def _slerp_weights(
    parents: Sequence[Genome], geometry: Geometry, shares: Float64[np.ndarray, " blocks"]
) -> Float64[np.ndarray, "parents blocks"]:
    """Weights of the two parents whose sum is the slerp at `shares`, block by block.

    Linear where a task vector has no length or where both are all but parallel.
    """
    first, second = parents
    lengths = np.sqrt(
        np.maximum(geometry.inner(first, first), 0.0)
        * np.maximum(geometry.inner(second, second), 0.0)
    )
    safe = np.where(lengths > 0.0, lengths, 1.0)
    cosine = np.where(lengths > 0.0, geometry.inner(first, second) / safe, 1.0)
    straight = np.abs(cosine) > _PARALLEL
    angle = np.arccos(np.clip(np.where(straight, 0.0, cosine), -1.0, 1.0))
    weights = np.stack([np.sin((1.0 - shares) * angle), np.sin(shares * angle)]) / np.sin(angle)
    return np.where(straight, np.stack([1.0 - shares, shares]), weights)
