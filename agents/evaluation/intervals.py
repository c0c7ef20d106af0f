"""Intervals of Coverage: a paired bootstrap over clusters.

Tasks of one generator rise and fall together, so whole generators are drawn, with replacement
(Efron and Tibshirani, 1993, chapter 8; Miller, "Adding error bars to evals", 2024, on clusters).
All columns are measured on the same draws: the interval of a difference is that of paired values.

Where several runs answered the same generators, another run would have given other values too.
Runs and generators are then drawn independently of each other, and a cell of the two counts as
often as both were drawn: the pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", 2007). It errs
on the wide side.
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

    @property
    def doubt(self) -> str:
        """What to say behind a difference that need not be one, with a space in front."""
        if self.low == self.high == 0:
            return " (no difference)"
        return "" if self.excludes_zero else " (may be chance)"


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
    values: NDArray[np.float64],
    clusters: Sequence[str],
    seed: int = 0,
    runs: Sequence[int] | None = None,
) -> list[Interval]:
    """Means of columns with percentile intervals, all on the same draws.

    Args:
        values: (items, columns); NaN where an item says nothing about a column.
        clusters: one name per item.
        seed: of the resampling.
        runs: which run each item is of; None, or one run alone, draws clusters only.

    Returns:
        One interval per column. One cluster alone shows no spread between clusters: its interval
        is the mean itself, and says nothing.
    """
    known = ~np.isnan(values)
    return _ratios(np.where(known, values, 0.0), known.astype(float), clusters, seed, runs)


def ratio_interval(
    values: NDArray[np.float64],
    over: NDArray[np.float64],
    clusters: Sequence[str],
    seed: int = 0,
    runs: Sequence[int] | None = None,
) -> Interval:
    """The sum of some values over the sum of others, both of the same draws.

    Args:
        values: (items,) what was gained.
        over: (items,) what there was to gain; draws in which that sums to zero are left out.
        clusters: one name per item.
        seed: of the resampling.
        runs: which run each item is of, as in `paired_intervals`.
    """
    return _ratios(values[:, None], over[:, None], clusters, seed, runs)[0]


def _ratios(
    values: NDArray[np.float64],
    over: NDArray[np.float64],
    clusters: Sequence[str],
    seed: int,
    runs: Sequence[int] | None,
) -> list[Interval]:
    """Per column, the sum of values over another sum; over counts, that is a mean."""
    cluster, run = _numbered(clusters), _numbered(runs or [0] * len(clusters))
    shape = (int(cluster.max()) + 1, int(run.max()) + 1)
    sums = _by_cell(values, cluster, run, shape)
    counts = _by_cell(over, cluster, run, shape)
    means = _resampled_means(sums, counts, np.random.default_rng(seed))
    means[~np.isfinite(means)] = np.nan
    lows, highs = np.nanquantile(means, [0.025, 0.975], axis=0)
    with np.errstate(invalid="ignore"):
        centres = sums.sum(axis=(0, 1)) / counts.sum(axis=(0, 1))
    return [
        Interval(float(m), float(low), float(high))
        for m, low, high in zip(centres, lows, highs, strict=True)
    ]


def _numbered(names: Sequence[str] | Sequence[int]) -> NDArray[np.int64]:
    """Names as numbers from 0, in the order in which they come."""
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _by_cell(
    values: NDArray[np.float64],
    cluster: NDArray[np.int64],
    run: NDArray[np.int64],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """(clusters, runs, columns) sums over the items of each cell."""
    totals = np.zeros((*shape, values.shape[1]))
    np.add.at(totals, (cluster, run), values)
    return totals


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(resamples, columns) sums over counts, clusters and runs both drawn with replacement.

    Clusters with equal sums and counts are the same to every mean: how often each *kind* is drawn
    is multinomial, and the totals of all resamples are one product of matrices.
    """
    clusters, runs, columns = sums.shape
    cells = np.concatenate([sums, counts], axis=2).reshape(clusters, -1)
    kinds, many = np.unique(cells, axis=0, return_counts=True)
    means = np.empty((RESAMPLES, columns))
    step = max(_CHUNK // max(kinds.shape), 1)
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        times = rng.multinomial(clusters, many / clusters, size=size).astype(float)
        by_run = (times @ kinds).reshape(size, runs, 2 * columns)
        # One run alone is always drawn once.
        drawn = np.ones((size, 1)) if runs == 1 else rng.multinomial(runs, [1 / runs] * runs, size)
        totals = np.einsum("br,brc->bc", drawn, by_run)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + size] = totals[:, :columns] / totals[:, columns:]
    return means
