"""Pass rates as selection sees them: shrunk for what was asked too little, chance taken off.

An expert that passes x of n fresh instances of a family is a draw from Binomial(n, p), and the p of
different experts a draw from Beta(s m, s (1 - m)). The posterior mean of p is (x + s m) / (n + s):
the rate, drawn towards the family's mean m as if s more instances had been asked. For a beta
distribution s = E[p (1 - p)] / Var(p), the ratio of Buehlmann's credibility ("Experience rating and
credibility", ASTIN Bulletin 4, 1967). It is estimated from the population (empirical Bayes), once
for all families: of a few dozen experts and four answers, one family says too little, and families
that are shrunk alike keep equal weight in fitness. Experts that were asked equally much so keep
their order; what shrinks is the advantage of the luckiest, and of those who were asked less.

The result is whole numbers of 1 / GRID, on which all that follows is exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID = 10_000
"""Units of a rate of 1. With N candidates and T families, N T GRID**2 must stay below 2**53."""

STRONGEST = 32.0
"""Upper limit of the prior's strength: where experts hardly differ, their order remains."""


def posterior(passes: Counts, asked: Counts, chances: Floats) -> Counts:
    """(candidates, families) rates in units of 1 / GRID, 0 where nothing is graded.

    The rate p of a generative family is shrunk, and becomes (p - chance) / (1 - chance), at least
    0. Where nothing was asked twice, rates of 0 and 1 are what they are.

    Args:
        passes: (candidates, families) instances that are passed.
        asked: (candidates, families) instances that are graded, 0 where the entry is missing.
        chances: (families,) share of instances that the best constant answer passes; NaN for a
            closed family, whose rates are taken as they are.
    """
    generative = ~np.isnan(chances)
    strength = np.zeros(len(chances))
    strength[generative] = prior_strength(passes[:, generative], asked[:, generative])
    mean = passes.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    rate = (passes + strength * mean) / np.maximum(asked + strength, 1)
    chance = np.minimum(np.where(generative, chances, 0.0), 1 - 1 / GRID)
    beyond = np.clip((rate - chance) / (1 - chance), 0.0, 1.0)
    units: Counts = np.rint(beyond * GRID).astype(np.int64) * (asked > 0)
    return units


def prior_strength(passes: Counts, asked: Counts) -> float:
    """How many instances the prior counts as: variance within experts over variance between them.

    Of x passes of n, x / n (1 - x / n) / (n - 1) estimates without bias how much the rate x / n
    varies about p, and n times as much p (1 - p). The variance of the rates of a family, less the
    former, is the variance of p. Both are summed over families. Entries of one instance say nothing
    about it.

    Args:
        passes: (candidates, families) instances that are passed.
        asked: (candidates, families) instances that are graded.

    Returns:
        0 if no expert passes some instances of a family and fails others.
    """
    told = asked > 1
    experts = told.sum(axis=0)
    rate = np.where(told, passes / np.maximum(asked, 1), 0.0)
    noise = np.where(told, rate * (1 - rate) / np.maximum(asked - 1, 1), 0.0)
    deviation = np.where(told, rate - _sums(rate) / np.maximum(experts, 1), 0.0)
    between = _sums(deviation**2) / np.maximum(experts - 1, 1) - _sums(noise) / np.maximum(
        experts, 1
    )
    within = math.fsum(_sums(noise * asked) / np.maximum(experts, 1))
    return min(within / max(math.fsum(between), within / STRONGEST), STRONGEST) if within else 0.0


def _sums(values: Floats) -> Floats:
    """(families,) sums over candidates, rounded once: their order leaves no trace."""
    return np.array([math.fsum(column) for column in values.T.tolist()])
