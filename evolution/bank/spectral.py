"""Spectral bases: the top singular triplets of the base's matrices, cached on disk by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.bank.cache import load_cached, save_cached
from evolution.bank.settings import SpectralSettings
from evolution.stages import Stages, no_stages
from memory.hashing import json_hash
from memory.records import Json

_EXACT_UP_TO = 2048
_OVERSAMPLING, _ITERATIONS = 16, 4
_DIGITS = 1e-8
"""Smallest squared singular value, of the largest, that float64 still resolves to eight digits."""
_PARTS = ("left", "values", "right")


@dataclass(frozen=True)
class SpectralBasis:
    """Top singular triplets of one matrix of shape (m, n), float32, largest first."""

    left: Float[Tensor, "m r"]
    values: Float[Tensor, " r"]
    right: Float[Tensor, "n r"]

    def to(self, device: torch.device) -> SpectralBasis:
        """The same on another device."""
        return SpectralBasis(self.left.to(device), self.values.to(device), self.right.to(device))


def basis_recipe(base_hash: str, settings: SpectralSettings) -> dict[str, Json]:
    """All that a basis depends on; part of the id of every genome with displacements."""
    return {"base": base_hash, **settings.model_dump(mode="json")}


def spectral_bases(
    base: Mapping[str, Tensor],
    matrices: Sequence[str],
    recipe: Mapping[str, Json],
    settings: SpectralSettings,
    cache_dir: Path,
    stages: Stages = no_stages,
) -> dict[str, SpectralBasis]:
    """The bases of all mutable matrices, from the cache if they are there.

    Args:
        base: tensor name -> base weights.
        matrices: names of the matrices.
        recipe: of `basis_recipe`; names the file in the cache.
        settings: rank and method.
        cache_dir: folder of all that is cached.
        stages: called with the progress of loading.
    """
    if settings.rank == 0:
        return {}
    path = cache_dir / "spectral" / f"{json_hash(dict(recipe), 32)}.safetensors"
    stored = load_cached(path)
    if stored is not None and all(
        f"{name}.{part}" in stored for name in matrices for part in _PARTS
    ):
        return {
            name: SpectralBasis(*(stored[f"{name}.{part}"] for part in _PARTS)) for name in matrices
        }
    bases = _decomposed(base, matrices, settings, stages)
    save_cached(
        path,
        {
            f"{name}.{part}": getattr(basis, part)
            for name, basis in bases.items()
            for part in _PARTS
        },
    )
    return bases


def _decomposed(
    base: Mapping[str, Tensor], matrices: Sequence[str], settings: SpectralSettings, stages: Stages
) -> dict[str, SpectralBasis]:
    """On a CPU, one matrix for each core: LAPACK gains little from several threads."""
    on_cpu = all(base[name].device.type == "cpu" for name in matrices)
    threads = torch.get_num_threads()
    workers = threads if on_cpu else 1

    def one(name: str) -> SpectralBasis:
        return decompose(base[name].float(), settings)

    found: dict[str, SpectralBasis] = {}
    try:
        with ThreadPoolExecutor(workers, "acdc-spectral", torch.set_num_threads, (1,)) as pool:
            for name, basis in zip(matrices, pool.map(one, matrices), strict=True):
                found[name] = basis
                stages("spectral bases", len(found), len(matrices))
    finally:
        torch.set_num_threads(threads)
    return found


def decompose(matrix: Float[Tensor, "m n"], settings: SpectralSettings) -> SpectralBasis:
    """Top singular triplets; the largest entry of each left vector is made positive."""
    rank = min(settings.rank, *matrix.shape)
    exact = settings.method == "exact" or (
        settings.method == "auto" and max(matrix.shape) <= _EXACT_UP_TO
    )
    if exact:
        left, values, right = _exact_svd(matrix, rank)
    else:
        left, values, right = _randomised_svd(matrix, rank, settings.seed)
    left, values, right = left[:, :rank], values[:rank], right[:, :rank]
    peaks = left.gather(0, left.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(peaks < 0, -1.0, 1.0)
    return SpectralBasis(
        (left * signs).contiguous(), values.contiguous(), (right * signs).contiguous()
    )


def _exact_svd(
    matrix: Float[Tensor, "m n"], rank: int
) -> tuple[Float[Tensor, "m r"], Float[Tensor, " r"], Float[Tensor, "n r"]]:
    """By the eigenvectors of its smaller Gram matrix in float64, which is faster than an SVD.

    Squared singular values lose half of the digits; where the smallest that is wanted has none
    left, an SVD is computed after all.
    """
    wide = matrix.double()
    flipped = wide.shape[0] > wide.shape[1]
    if flipped:
        wide = wide.mT
    squares, vectors = torch.linalg.eigh(wide @ wide.mT)
    squares, vectors = squares[-rank:].flip(0), vectors[:, -rank:].flip(1)
    if squares[-1] <= _DIGITS * squares[0]:
        left, values, transposed = torch.linalg.svd(matrix, full_matrices=False)
        return left[:, :rank], values[:rank], transposed.mH[:, :rank]
    values = squares.sqrt()
    others = wide.mT @ vectors / values
    left, right = (others, vectors) if flipped else (vectors, others)
    return left.float(), values.float(), right.float()


def _randomised_svd(
    matrix: Float[Tensor, "m n"], rank: int, seed: int
) -> tuple[Float[Tensor, "m q"], Float[Tensor, " q"], Float[Tensor, "n q"]]:
    """Subspace iteration (Halko et al. 2011, algorithm 4.4), with a random stream of its own."""
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(matrix.shape[1], width, generator=generator).to(matrix.device)
    subspace = torch.linalg.qr(matrix @ start).Q
    for _ in range(_ITERATIONS):
        subspace = torch.linalg.qr(matrix.T @ subspace).Q
        subspace = torch.linalg.qr(matrix @ subspace).Q
    left, values, transposed = torch.linalg.svd(subspace.T @ matrix, full_matrices=False)
    return subspace @ left, values, transposed.T
