"""Pass rates as selection sees them: shrunk for what was asked too little, chance taken off.

An expert that passes x of n fresh instances of a family is a draw from Binomial(n, p), and its p a
draw from Beta(s m, s (1 - m)). The posterior mean of p is (x + s m) / (n + s): the rate, drawn
towards the prior mean m as if s more instances had been asked. For a beta distribution
s = E[p (1 - p)] / Var(p), the ratio of Buehlmann's credibility ("Experience rating and
credibility", ASTIN Bulletin 4, 1967).

The prior mean is the mean of the family over all candidates, plus the ability of the expert: by how
much it exceeds these means over all families, itself shrunk by what of that is noise. Without it,
every family would draw a good expert towards the others anew, as if forty families said nothing
about the next one; with it, equal experts are drawn together and different ones stay apart.

All of this is estimated from the population (empirical Bayes), once for all families: of a few
dozen experts and four answers, one family says too little, and families that are shrunk alike keep
equal weight in fitness. Experts that were asked equally much so keep their order, but for rates
that end at 0 or 1; what shrinks is the advantage of the luckiest, and of those who were asked less.

The result is whole numbers of 1 / GRID, on which all that follows is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID = 10_000
"""Units of a rate of 1. With N candidates and T families, N T GRID**2 must stay below 2**53."""

STRONGEST = 32.0
"""Upper limit of the prior's strength: where experts hardly differ, their order remains."""


class Prior(NamedTuple):
    """What is expected of each expert in each family before it is asked there.

    Attributes:
        mean: (candidates, families) expected rates.
        strength: how many instances they count as.
        deviation: (candidates,) standard deviation of what is not known of each expert's ability.
    """

    mean: Floats
    strength: float
    deviation: Floats


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
    rate = passes / np.maximum(asked, 1)
    of, graded = passes[:, generative], asked[:, generative]
    prior = prior_of(of, graded)
    rate[:, generative] = (of + prior.strength * prior.mean) / np.maximum(
        graded + prior.strength, 1
    )
    chance = np.minimum(np.where(generative, chances, 0.0), 1 - 1 / GRID)
    beyond = np.clip((rate - chance) / (1 - chance), 0.0, 1.0)
    units: Counts = np.rint(beyond * GRID).astype(np.int64) * (asked > 0)
    return units


def prior_of(passes: Counts, asked: Counts) -> Prior:
    """Means and strength of the prior, from the variances within and between experts.

    Of x passes of n, x / n (1 - x / n) / (n - 1) estimates without bias how much the rate x / n
    varies about p, and n times as much p (1 - p). What rates vary about the families' means, less
    the former and less the variance of ability, is the variance of p about its prior mean. Entries
    of one instance say nothing about it.

    Args:
        passes: (candidates, families) instances that are passed.
        asked: (candidates, families) instances that are graded.

    Returns:
        Of strength 0 if no expert passes some instances of a family and fails others.
    """
    told = asked > 1
    experts = _per_family(told)
    rate = passes / np.maximum(asked, 1)
    noise = np.where(told, rate * (1 - rate) / np.maximum(asked - 1, 1), 0.0)
    mean = passes.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    about = np.where(told, rate - _per_family(np.where(told, rate, 0)) / np.maximum(experts, 1), 0)
    spread = _per_family(about**2) / np.maximum(experts - 1, 1)
    ability, doubt, variance = _abilities(np.where(asked > 0, rate - mean, 0.0), asked > 0)
    between = math.fsum((spread - _per_family(noise) / np.maximum(experts, 1))[experts > 1])
    between -= variance * np.count_nonzero(experts > 1)
    within = math.fsum((_per_family(noise * asked) / np.maximum(experts, 1))[experts > 1])
    strength = min(within / max(between, within / STRONGEST), STRONGEST) if within else 0.0
    mean = np.clip(mean + ability[:, None], 0.0, 1.0)
    return Prior(mean, strength, np.sqrt(doubt))


def _abilities(excess: Floats, graded: NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    """Abilities: shrunk means over families of what experts exceed the means of the families by.

    Args:
        excess: (candidates, families) rate less mean of the family, 0 where nothing is graded.
        graded: (candidates, families) whether the entry is there.

    Returns:
        (candidates,) abilities; (candidates,) variance of what is not known of them; their variance
        over candidates.
    """
    families = np.maximum(graded.sum(axis=1), 1)
    mean = _per_family(excess.T) / families
    residual = np.where(graded, excess - mean[:, None], 0.0)
    if len(mean) < 2 or families.min() < 2:
        return np.zeros(len(mean)), np.zeros(len(mean)), 0.0
    error = math.fsum(_per_family(residual.T**2)) / int((families - 1).sum()) / families
    centre = math.fsum(mean) / len(mean)
    spread = math.fsum((mean - centre) ** 2) / (len(mean) - 1)
    variance = max(spread - math.fsum(error) / len(mean), 0.0)
    share = variance / np.maximum(variance + error, 1 / GRID**2)
    return mean * share, error * share, variance


def _per_family(values: NDArray[np.generic]) -> Floats:
    """(families,) sums over candidates, rounded once: their order leaves no trace."""
    return np.array([math.fsum(column) for column in values.T.tolist()])
