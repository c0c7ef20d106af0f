"""Mutations: noise on singular values, on coefficients, or on weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field as Limits

from evolution.genome.genome import Genome, NoiseField
from evolution.genome.geometry import Geometry
from evolution.registry import Child, mutation

Strength = Annotated[float, Limits(ge=0.0, allow_inf_nan=False)]


@mutation("spectral")
def spectral(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    strength: Strength = 0.02,
    strength_mode: Literal["relative", "absolute"] = "relative",
    rank: Annotated[int, Limits(ge=1)] | None = None,
) -> Child:
    """Gaussian noise on the first singular values of every mutable matrix (AC/DC paper, M.2).

    The displacements lie along the base's singular vectors, which its fine-tunes share: no child
    needs an SVD.

    Args:
        genome: to be mutated.
        geometry: of the bank.
        rng: source of the noise.
        strength: `relative`: the expected `||dW||_F / ||W||_F`; `absolute`: the standard deviation
            of each displacement, 0.25 in the paper.
        strength_mode: how `strength` is meant.
        rank: how many singular values; all of the spectral basis by default.
    """
    fitted = geometry.fit(genome)
    displacements = dict(fitted.displacements)
    for name, values in geometry.singular_values.items():
        count = len(values) if rank is None else min(rank, len(values))
        sigma = strength
        if strength_mode == "relative":
            sigma = strength * geometry.norms[name] / _expected_norm(count)
        noise = np.zeros(len(values))
        noise[:count] = rng.normal(0.0, sigma, size=count)
        displacements[name] = (displacements.get(name, 0.0) + noise).astype(np.float32)
    drawn = {"strength": strength, "strength_mode": strength_mode}
    return replace(fitted, displacements=displacements), dict(drawn)


@mutation("coefficient_noise")
def coefficient_noise(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    sigma: Strength = 0.05,
    per_block: bool = True,
) -> Child:
    """Gaussian noise on task-vector coefficients, its own in each block or one for the model.

    The isotropic mutation of evolution strategies (Beyer and Schwefel 2002) in the space
    of merging coefficients, which evolutionary model merging searches too (Akiba et al. 2024, arXiv
    2403.13187).
    """
    fitted = geometry.fit(genome)
    blocks, anchors = fitted.coefficients.shape
    noise = rng.normal(0.0, sigma, size=(blocks if per_block else 1, anchors))
    coefficients = (fitted.coefficients + noise).astype(np.float32)
    mutant = replace(fitted, coefficients=coefficients)
    return mutant, {"sigma": sigma, "per_block": per_block}


@mutation("gaussian")
def gaussian(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    strength: Strength = 0.01,
    strength_mode: Literal["relative", "absolute"] = "relative",
) -> Child:
    """Gaussian noise on every weight of the mutable matrices, of which only the seed is kept.

    As evolution strategies perturb LLMs (Qiu et al. 2025, arXiv 2509.24372; Salimans et al. 2017,
    arXiv 1703.03864, section 2.1). The seed and its strength are part of the genome: they are
    inherited, blended and bounded, and the noise is regenerated whenever weights are made.

    Args:
        genome: to be mutated.
        geometry: of the bank.
        rng: draws the seed.
        strength: `relative`: the expected `||dW||_F / ||W||_F` of each matrix; `absolute`: the
            standard deviation of each weight, 0.0003 in the published Gaussian mutator.
        strength_mode: how `strength` is meant.
    """
    fitted = geometry.fit(genome)
    field = NoiseField(int(rng.integers(1 << 62)), strength_mode)
    strengths = np.full(len(geometry.blocks), strength, np.float32)
    drawn = {"seed": field.seed, "strength": strength, "strength_mode": strength_mode}
    return replace(fitted, noise={**fitted.noise, field: strengths}), dict(drawn)


def _expected_norm(dimension: int) -> float:
    """Expected length of a standard normal vector of that dimension."""
    logarithm = math.lgamma((dimension + 1) / 2) - math.lgamma(dimension / 2)
    return math.sqrt(2.0) * math.exp(logarithm)
