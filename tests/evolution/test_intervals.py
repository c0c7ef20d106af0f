"""The paired bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolution.intervals import cluster_bootstrap, paired_intervals


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
