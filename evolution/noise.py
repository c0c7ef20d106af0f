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
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Scale = Literal["relative", "absolute"]

GENERATOR = "sfc64-1"
"""How seeds become weights; part of the id of every genome with noise."""

_CHUNK = 1 << 20
"""Weights that are drawn at a time, each chunk from a stream of its own."""


class Field(NamedTuple):
    """A noise field.

    Attributes:
        seed: of everything that is drawn.
        scale: `relative`: unit noise has the Frobenius norm of the matrix that it is added to;
            `absolute`: unit noise has deviation 1 in every weight.
    """

    seed: int
    scale: Scale


class Term(NamedTuple):
    """What one field adds to one tensor: normal deviates of this standard deviation."""

    seed: int
    deviation: float


def add_noise(
    weights: Float[Tensor, " ..."], name: str, terms: Sequence[Term]
) -> Float[Tensor, " ..."]:
    """A tensor with the noise of a genome; the same on every device and in every process.

    Args:
        weights: left as they are.
        name: of the tensor, a part of the seed.
        terms: of `Geometry.noise_terms`; with none, the tensor is returned as it is.
    """
    if not terms:
        return weights
    total = weights.to(torch.float32, copy=True).contiguous()
    flat = total.view(-1)
    for term in terms:
        for start, deviates in _chunks(term.seed, name, flat.numel()):
            part = flat[start : start + len(deviates)]
            part.add_(deviates.to(flat.device), alpha=term.deviation)
    return total


def _chunks(seed: int, name: str, count: int) -> Iterator[tuple[int, Float[Tensor, " n"]]]:
    """(start, standard normal deviates) over a whole tensor."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for index, start in enumerate(range(0, count, _CHUNK)):
        entropy = np.random.SeedSequence([seed, place, index])
        generator = np.random.Generator(np.random.SFC64(entropy))
        size = min(_CHUNK, count - start)
        yield start, torch.from_numpy(generator.standard_normal(size, dtype=np.float32))
