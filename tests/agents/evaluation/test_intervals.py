"""The paired bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.evaluation.intervals import (
    Interval,
    cluster_bootstrap,
    paired_intervals,
    ratio_interval,
)


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=5), min_size=1))
def test_the_mean_lies_in_its_interval(values: list[list[float]]) -> None:
    named = {f"g{i}": items for i, items in enumerate(values)}
    interval = cluster_bootstrap(named)
    flat = [value for items in values for value in items]
    assert interval.mean == pytest.approx(sum(flat) / len(flat))
    assert interval.low - 1e-9 <= interval.mean <= interval.high + 1e-9


def test_items_of_one_cluster_count_as_one_observation() -> None:
    rng = np.random.default_rng(0)
    draws = rng.random(20) < 0.5
    apart = {f"g{i}": [float(value)] for i, value in enumerate(draws)}
    repeated = {f"g{i}": [float(value)] * 30 for i, value in enumerate(draws)}
    one, many = cluster_bootstrap(apart), cluster_bootstrap(repeated)
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    rng = np.random.default_rng(1)
    values = (rng.random(400) < 0.3).astype(float)
    interval = cluster_bootstrap({f"g{i}": [v] for i, v in enumerate(values)})
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.high - interval.mean == pytest.approx(half, rel=0.1)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.1)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(2)
    theirs = (rng.random(60) < 0.5).astype(float)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs == 0)[:12]] = 1.0
    names = [f"g{i}" for i in range(60)]
    one, two, difference = paired_intervals(np.stack([ours, theirs, ours - theirs], 1), names)
    assert one.low < two.high, "the intervals by themselves overlap"
    assert difference.excludes_zero


def test_missing_items_are_left_out_of_their_column_alone() -> None:
    values = np.array([[1.0, 1.0], [0.0, np.nan], [1.0, np.nan], [0.0, 1.0]])
    first, second = paired_intervals(values, ["a", "b", "c", "d"])
    assert first.mean == 0.5
    assert second.mean == second.low == second.high == 1.0


def test_what_varies_between_runs_is_in_the_interval() -> None:
    # Every generator of a run says the same, so generators alone show no spread at all.
    effects = [0.5, 0.4, -0.3, 0.2, -0.4]
    names = [f"g{i}" for i in range(12)]
    values = np.array([[effect] for effect in effects for _ in names])
    clusters = [name for _ in effects for name in names]
    runs = [run for run in range(len(effects)) for _ in names]
    [pooled] = paired_intervals(values, clusters)
    [crossed] = paired_intervals(values, clusters, runs=runs)
    assert pooled.excludes_zero
    assert not crossed.excludes_zero
    half = 1.96 * np.std(effects) / np.sqrt(len(effects))
    assert (crossed.high - crossed.low) / 2 == pytest.approx(half, rel=0.1)


def test_runs_that_agree_leave_the_spread_of_the_generators() -> None:
    rng = np.random.default_rng(3)
    effects = rng.normal(0.1, 1.0, size=30)
    names = [f"g{i}" for i in range(30)]
    [alone] = paired_intervals(effects[:, None], names)
    runs = [run for run in range(5) for _ in names]
    [crossed] = paired_intervals(np.tile(effects, 5)[:, None], names * 5, runs=runs)
    assert (crossed.low, crossed.high) == pytest.approx((alone.low, alone.high), abs=0.03)


def test_a_single_run_has_the_interval_of_its_generators() -> None:
    values = np.random.default_rng(4).random((20, 3))
    names = [f"g{i % 6}" for i in range(20)]
    assert paired_intervals(values, names, runs=[7] * 20) == paired_intervals(values, names)


def test_a_generator_that_only_some_runs_asked_is_counted_where_it_was() -> None:
    values = np.array([[1.0], [0.0], [1.0]])
    [interval] = paired_intervals(values, ["a", "a", "b"], runs=[0, 1, 1])
    assert interval.mean == pytest.approx(2 / 3)
    assert 0.0 <= interval.low <= interval.high <= 1.0


def test_a_ratio_is_of_sums_and_both_are_of_the_same_draws() -> None:
    clusters = [f"g{i}" for i in range(12)]
    over = np.arange(1.0, 13.0)
    # Twice as much over, half as much gained everywhere: nothing varies, whatever is drawn.
    same = ratio_interval(over / 2, over, clusters)
    assert (same.mean, same.low, same.high) == pytest.approx((0.5, 0.5, 0.5))
    gained = np.where(np.arange(12) < 6, over, 0.0)
    found = ratio_interval(gained, over, clusters)
    assert found.mean == pytest.approx(21 / 78)
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 12, (4000, 12))
    ratios = gained[drawn].sum(axis=1) / over[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_a_ratio_varies_with_the_runs_too() -> None:
    clusters, runs = ["a", "b"] * 2, [0, 0, 1, 1]
    found = ratio_interval(np.array([1.0, 1, 0, 0]), np.ones(4), clusters, runs=runs)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.0, 1.0))


@pytest.mark.parametrize(
    ("low", "high", "doubt"),
    [
        (0.1, 0.2, ""),
        (-0.2, -0.1, ""),
        (0.0, 0.2, " (may be chance)"),
        (-0.1, 0.2, " (may be chance)"),
        (0.0, 0.0, " (no difference)"),
    ],
)
def test_a_difference_that_need_not_be_one_is_doubted(low: float, high: float, doubt: str) -> None:
    assert Interval((low + high) / 2, low, high).doubt == doubt
