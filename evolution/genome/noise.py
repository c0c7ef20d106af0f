"""Gaussian noise that is kept as a seed: its weights are regenerated whenever they are needed.

A noise *field* is an anchor that is stored nowhere: of a seed it makes, for every mutable matrix t,

    N_s[t] = scale(t) * Z_s[t],    Z_s[t] ~ N(0, 1) independently for every weight

and a genome holds how much of it each block has. Evolution strategies at the scale of LLMs keep
their perturbations so (Salimans et al. 2017, arXiv 1703.03864, section 2.1; Qiu et al. 2025, arXiv
2509.24372): a seed and a strength instead of gigabytes. Fields of different seeds, and fields and
task vectors, are taken as orthogonal, which in millions of dimensions they are but for about
`1 / sqrt(dimension)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from evolution.genome.genome import NoiseTerm

GENERATOR = "sfc64-1"
"""How seeds become weights; part of the id of every genome with noise."""

_CHUNK = 1 << 16
"""Weights that are drawn at a time, each chunk from a stream of its own."""


@dataclass(frozen=True)
class Noise:
    """What a genome's fields add to one tensor.

    The deviates are the same everywhere. How the sum is rounded is the processor's: some multiply
    and add in one step.

    Attributes:
        name: of the tensor, a part of every seed.
        terms: of `Geometry.noise_terms`, at least one.
    """

    name: str
    terms: tuple[NoiseTerm, ...]

    def add_to(self, total: Float[Tensor, " n"], start: int = 0) -> None:
        """Add to a range of the flattened tensor, in place.

        Args:
            total: float32.
            start: place of its first element in the tensor; results do not depend on how a tensor
                is cut.
        """
        end = start + len(total)
        for term in self.terms:
            for first, deviates in _chunks(term.seed, self.name, start, end):
                low, high = max(first, start), min(first + len(deviates), end)
                part = deviates[low - first : high - first].to(total.device)
                total[low - start : high - start].add_(part, alpha=term.deviation)


def _chunks(seed: int, name: str, start: int, end: int) -> Iterator[tuple[int, Tensor]]:
    """(place of the first, standard normal deviates) of all chunks that a range touches."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for index in range(start // _CHUNK, -(-end // _CHUNK)):
        entropy = np.random.SeedSequence([seed, place, index])
        generator = np.random.Generator(np.random.SFC64(entropy))
        deviates = generator.standard_normal(_CHUNK, dtype=np.float32)
        yield index * _CHUNK, torch.from_numpy(deviates)
