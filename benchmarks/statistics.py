"""Paired bootstrap over clusters: tasks of one generator rise and fall together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def cluster_bootstrap(values: Mapping[str, Sequence[float]], seed: int = 0) -> Interval:
    """Mean over all values with a percentile interval, resampling whole clusters.

    Args:
        values: cluster (generator) -> values of its items, for example paired differences.
        seed: of the resampling.
    """
    sums = np.array([np.sum(items) for items in values.values()])
    counts = np.array([len(items) for items in values.values()])
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))
