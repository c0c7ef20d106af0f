"""Bounds, the last step of every breeding: without them a population drifts into gibberish."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evolution.genome.genome import Genome, NoiseField
from evolution.genome.geometry import Geometry

_SLACK = 1.0 + 1e-6
"""Rounding to float32 is no transgression: bounding twice must equal bounding once."""

_LARGEST_COEFFICIENT = 16.0
"""Where task vectors cancel out (nearly equal seeds, or a base that is their mean), coefficients
can grow without the task vector growing, until float32 no longer resolves what is left of it."""


@dataclass(frozen=True)
class Bounded:
    """A genome within bounds, and how often it had to be pulled back.

    Attributes:
        blocks: blocks whose coefficients were scaled down.
        matrices: matrices whose displacements were scaled down or clamped.
        noisy: blocks whose noise was scaled down.
        dropped: noise fields that were left out.
    """

    genome: Genome
    blocks: int
    matrices: int
    noisy: int = 0
    dropped: int = 0


def bound(
    genome: Genome,
    geometry: Geometry,
    coefficient_bound: float,
    displacement_bound: float,
    noise_bound: float = math.inf,
    noise_fields: int | None = None,
) -> Bounded:
    """Pull a genome back to where experts still speak.

    Args:
        genome: of the bank that `geometry` describes.
        geometry: lengths of task vectors and matrices.
        coefficient_bound: longest task vector per block, in lengths of the largest seed's.
        displacement_bound: largest `||U diag(delta) V^T||_F` relative to `||W||_F`.
        noise_bound: longest noise of a block, relative to the norm of its mutable matrices.
        noise_fields: most fields that are kept, the longest; each costs time in every swap.
    """
    fitted = geometry.fit(genome)
    scales = _coefficient_scales(fitted, geometry, coefficient_bound)
    coefficients = fitted.coefficients * scales[:, None]
    displacements: dict[str, np.ndarray] = {}
    pulled = 0
    for name, delta in fitted.displacements.items():
        kept = _bounded_displacement(delta, geometry, name, displacement_bound)
        pulled += not np.array_equal(kept, delta)
        displacements[name] = kept
    noise, noisy = _bounded_noise(fitted, geometry, noise_bound, noise_fields)
    bounded = Genome(coefficients.astype(np.float32), displacements, noise)
    dropped = len(fitted.noise) - len(noise)
    return Bounded(bounded, int((scales < 1.0).sum()), pulled, noisy, dropped)


def _coefficient_scales(genome: Genome, geometry: Geometry, limit: float) -> np.ndarray:
    """(blocks,) factors of at most 1."""
    lengths = geometry.coefficient_norms(genome)
    seeds = np.diagonal(geometry.gram, axis1=1, axis2=2)[:, : geometry.seeds]
    longest = limit * np.sqrt(np.max(seeds, axis=1, initial=0.0))
    # A block that no seed changes has no length to compare with.
    over = (lengths > longest * _SLACK) & (longest > 0.0)
    scales = np.where(over, longest / np.where(over, lengths, 1.0), 1.0)
    peaks = np.max(np.abs(genome.coefficients), axis=1, initial=0.0) * scales
    capped = np.where(peaks > _LARGEST_COEFFICIENT * _SLACK, _LARGEST_COEFFICIENT, peaks)
    result: np.ndarray = scales * np.where(
        peaks > 0.0, capped / np.where(peaks > 0.0, peaks, 1.0), 1.0
    )
    return result


def _bounded_displacement(
    delta: np.ndarray, geometry: Geometry, name: str, limit: float
) -> np.ndarray:
    length = float(np.linalg.norm(delta.astype(np.float64)))
    longest = limit * geometry.norms[name]
    if length > longest * _SLACK:
        delta = (delta * (longest / length)).astype(np.float32)
    # A negative singular value would turn its vectors round, which no noise is meant to do.
    clamped: np.ndarray = np.maximum(delta, -geometry.singular_values[name]).astype(np.float32)
    return clamped


def _bounded_noise(
    genome: Genome, geometry: Geometry, limit: float, most: int | None
) -> tuple[dict[NoiseField, np.ndarray], int]:
    """The longest fields, shortened where all of them together are too long; and in how many."""
    squares = {
        field: geometry.noise_squares(field.scale) * strengths.astype(np.float64) ** 2
        for field, strengths in genome.noise.items()
    }
    kept = sorted(squares, key=lambda field: (-squares[field].sum(), field))[:most]
    if not kept:
        return {}, 0
    lengths = np.sqrt(np.sum([squares[field] for field in kept], axis=0))
    longest = np.sqrt(geometry.noise_squares("relative"))
    over = lengths > limit * longest * _SLACK if math.isfinite(limit) else np.zeros(0, bool)
    if not over.any():
        return {field: genome.noise[field] for field in kept}, 0
    scales = np.where(over, limit * longest / np.where(over, lengths, 1.0), 1.0)
    return {field: (genome.noise[field] * scales).astype(np.float32) for field in kept}, int(
        over.sum()
    )
