"""A search of merging coefficients that learns: separable CMA-ES over groups of them.

A merge has a coefficient per block and anchor, a hundred at least, and a run affords a few hundred
children. Groups make them few: a child adds to its parent's coefficients one number per anchor, and
a smaller one per anchor and band of neighbouring blocks, and the whole is scaled:

    l[b, i] = exp(s) (l_parent[b, i] + x[i] + y[band(b), i] / 4)

(Blocks are whole layers: attention and MLP have no coefficients of their own.) The coordinates
(x, y, s) are drawn from a normal distribution, at first N(0, sigma^2 I). Each batch that has been
judged moves its mean and its step sizes towards what gained most: CMA-ES with a diagonal covariance
(Ros and Hansen 2008, "A simple modification in CMA-ES achieving linear time and space complexity"),
where evolutionary model merging takes the full one (Akiba et al. 2024, arXiv 2403.13187).

A search is a function of what it was told, and keeps nothing: the optimiser is made anew and told
all of it again, which takes a moment and gives the same numbers. So nothing but vectors and values
has to be stored, and no state can get out of step with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry

if TYPE_CHECKING:
    from cmaes import SepCMA

BANDS = 4
"""Of neighbouring blocks, which share coefficients."""
BAND_STEP = 0.25
"""What a step of one band is worth, beside one that all bands share."""
SIGMA = 0.3
"""Standard deviation of the first children, in coefficients: a seed has 1."""
COLLAPSED = 0.02
"""Spread of a batch, in coefficients, below which its children are all but one."""

Vector: TypeAlias = tuple[float, ...]
Told: TypeAlias = Sequence[tuple[Vector, float]]
"""Vectors in the order in which they were asked for, with what each gained."""


@dataclass(frozen=True)
class Search:
    """Where a search began.

    Attributes:
        parent: the genome at the origin.
        columns: of its coefficients, those that vary.
        sigma: standard deviation of the first batch.
    """

    parent: Genome
    columns: tuple[int, ...]
    sigma: float = SIGMA

    @cached_property
    def bands(self) -> tuple[slice, ...]:
        """Of the rows of coefficients, as equal as may be; the embeddings go with the first."""
        blocks = len(self.parent.coefficients)
        ends = np.linspace(0, blocks, min(BANDS, blocks) + 1).round().astype(int).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector: a number per column, one per band and column, and the scale."""
        return (1 + len(self.bands)) * len(self.columns) + 1

    @cached_property
    def population(self) -> int:
        """Children of a batch, `4 + floor(3 ln n)` (Hansen 2016, arXiv 1604.00772, eq. 48)."""
        size: int = self._optimiser().population_size
        return size

    def ask(self, told: Told, rng_seed: int) -> Vector:
        """One vector of the batch that is open.

        Args:
            told: of all batches so far; what is beyond the last whole one waits for its end.
            rng_seed: of what is drawn, below 2**32.
        """
        optimiser = self._optimiser()
        for start in range(0, len(told) - self.population + 1, self.population):
            batch = told[start : start + self.population]
            # It minimises. The order of asking decides between equal ones.
            optimiser.tell([(np.array(vector), -value) for vector, value in batch])
        optimiser.reseed_rng(rng_seed)
        return tuple(optimiser.ask().tolist())

    def genome(self, vector: Vector, geometry: Geometry) -> Genome:
        """The child at a vector; bounds are not applied yet.

        Args:
            vector: (dimensions,).
            geometry: of the bank, in which the parent has all columns.
        """
        fitted = geometry.fit(self.parent)
        rows = fitted.coefficients.astype(np.float64)
        shared, *own = np.reshape(vector[:-1], (1 + len(self.bands), len(self.columns)))
        for band, step in zip(self.bands, own, strict=True):
            rows[band, self.columns] += shared + BAND_STEP * step
        return replace(fitted, coefficients=(np.exp(vector[-1]) * rows).astype(np.float32))

    def collapsed(self, told: Told) -> bool:
        """Whether the last whole batch hardly differs within itself."""
        whole = len(told) // self.population * self.population
        last = np.array([vector for vector, _ in told[max(whole - self.population, 0) : whole]])
        return len(last) > 0 and float(np.sqrt(last.var(axis=0).mean())) < COLLAPSED

    def _optimiser(self) -> SepCMA:
        from cmaes import SepCMA  # which loads scipy.stats, a second of every start

        return SepCMA(mean=np.zeros(self.dimensions), sigma=self.sigma)


def varied(parent: Genome, seeds: int) -> tuple[int, ...]:
    """The columns that a search about a parent varies: what it is made of, and all seeds.

    Of the columns of merges only its own: those of one merge belong together, and give little but
    noise where they are drawn one by one.
    """
    return tuple(
        column
        for column in range(parent.anchors)
        if column < seeds or parent.coefficients[:, column].any()
    )
