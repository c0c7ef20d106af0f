"""Mutations: noise on singular values or on coefficients (DESIGN section 4)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from evolution.genome import Genome
from evolution.geometry import Geometry
from evolution.registry import Outcome, mutation

Strength = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


@mutation("spectral")
def spectral(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    strength: Strength = 0.02,
    strength_mode: Literal["relative", "absolute"] = "relative",
    rank: Annotated[int, Field(ge=1)] | None = None,
) -> Outcome:
    """Gaussian noise on the first singular values of every mutable matrix (paper, M.2).

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
    return Genome(fitted.coefficients, displacements), dict(drawn)


@mutation("coefficient_noise")
def coefficient_noise(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    sigma: Strength = 0.05,
    per_block: bool = True,
) -> Outcome:
    """Gaussian noise on task-vector coefficients, its own in each block or one for the model."""
    fitted = geometry.fit(genome)
    blocks, anchors = fitted.coefficients.shape
    noise = rng.normal(0.0, sigma, size=(blocks if per_block else 1, anchors))
    coefficients = (fitted.coefficients + noise).astype(np.float32)
    return Genome(coefficients, fitted.displacements), {"sigma": sigma, "per_block": per_block}


def _expected_norm(dimension: int) -> float:
    """Expected length of a standard normal vector of that dimension."""
    logarithm = math.lgamma((dimension + 1) / 2) - math.lgamma(dimension / 2)
    return math.sqrt(2.0) * math.exp(logarithm)
