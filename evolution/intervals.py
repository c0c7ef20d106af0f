"""Intervals of Coverage: a paired bootstrap over clusters.

Tasks of one generator rise and fall together, so whole generators are drawn, with replacement
(Efron and Tibshirani, 1993, chapter 8; Miller, "Adding error bars to evals", 2024, on clusters).
All columns are measured on the same draws: the interval of a difference is that of paired values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CHUNK = 2_000_000
"""Counts that are held in memory at a time."""


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
    clusters = [name for name, items in values.items() for _ in items]
    column = np.array([value for items in values.values() for value in items], dtype=float)
    return paired_intervals(column[:, None], clusters, seed)[0]


def paired_intervals(
    values: NDArray[np.float64], clusters: Sequence[str], seed: int = 0
) -> list[Interval]:
    """Means of columns with percentile intervals, all on the same resampled clusters.

    Args:
        values: (items, columns); NaN where an item says nothing about a column.
        clusters: one name per item.
        seed: of the resampling.

    Returns:
        One interval per column. One cluster alone shows no spread between clusters: its interval
        is the mean itself, and says nothing.
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    place = np.array([names[name] for name in clusters], dtype=np.int64)
    known = ~np.isnan(values)
    sums = _by_cluster(np.where(known, values, 0.0), place, len(names))
    counts = _by_cluster(known.astype(float), place, len(names))
    means = _resampled_means(sums, counts, np.random.default_rng(seed))
    lows, highs = np.nanquantile(means, [0.025, 0.975], axis=0)
    with np.errstate(invalid="ignore"):
        centres = sums.sum(axis=0) / counts.sum(axis=0)
    return [
        Interval(float(m), float(low), float(high))
        for m, low, high in zip(centres, lows, highs, strict=True)
    ]


def _by_cluster(
    values: NDArray[np.float64], place: NDArray[np.int64], clusters: int
) -> NDArray[np.float64]:
    """(clusters, columns) sums over the items of each cluster."""
    totals = np.zeros((clusters, values.shape[1]))
    np.add.at(totals, place, values)
    return totals


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(resamples, columns) means of clusters drawn with replacement.

    Clusters with equal sums and counts are the same to every mean: how often each *kind* is drawn
    is multinomial, and the totals of all resamples are one product of matrices.
    """
    columns = sums.shape[1]
    kinds, many = np.unique(np.hstack([sums, counts]), axis=0, return_counts=True)
    means = np.empty((RESAMPLES, columns))
    step = max(_CHUNK // len(kinds), 1)
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        times = rng.multinomial(len(sums), many / len(sums), size=size)
        totals = times.astype(float) @ kinds
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + size] = totals[:, :columns] / totals[:, columns:]
    return means
