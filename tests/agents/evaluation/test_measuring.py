"""Rows of several runs side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.evaluation.rows import Row, RunRows, between, differences, intervals, recovered

GENERATORS = [f"g{i}" for i in range(10)]
FORCE, SEEDS = ("force", 3), ("experts", 3)


def a_run(seed: int, ours: float, theirs: float) -> RunRows:
    """A run in which force and seeds solve these shares of each generator's ten tasks."""
    clusters = {f"{name}-{i}": name for name in GENERATORS for i in range(10)}

    def row(name: str, share: float) -> Row:
        solved = {task: int(task.rsplit("-", 1)[1]) < 10 * share for task in clusters}
        return Row(name, 3, solved, {"majority": solved}, (), "greedy", 0, 0, 0.0, 0)

    rows = {FORCE: row("force", ours), SEEDS: row("experts", theirs)}
    return RunRows(f"seed-{seed}", seed, clusters, rows)


RUNS = [a_run(1, 0.9, 0.5), a_run(2, 0.4, 0.6), a_run(3, 0.6, 0.5)]
PAIR = ((FORCE, "coverage"), (SEEDS, "coverage"))


def test_a_difference_tells_every_run_and_varies_with_them() -> None:
    [found] = differences(RUNS, [PAIR])
    assert found.interval.mean == pytest.approx(0.1)
    assert found.by_run == pytest.approx((0.4, -0.2, 0.1))
    assert found.interval.low < 0 < found.interval.high, "one run of three is behind"
    [alone] = differences(RUNS[:1], [PAIR])
    assert alone.interval.low == alone.interval.high == pytest.approx(0.4)


def test_rows_vary_with_the_runs() -> None:
    found = intervals(RUNS, [(FORCE, "coverage"), (FORCE, "majority")])
    interval = found[FORCE, "coverage"]
    assert interval == found[FORCE, "majority"]
    assert (interval.low, interval.high) == pytest.approx((0.4, 0.9))


def test_groups_of_runs_are_paired_in_their_order() -> None:
    columns = [(FORCE, "coverage"), (SEEDS, "coverage")]
    ours, theirs = between(RUNS, [RUNS[1], RUNS[2], RUNS[0]], columns)
    assert ours.by_run == pytest.approx((0.5, -0.2, -0.3))
    assert theirs.by_run == pytest.approx((-0.1, 0.1, 0.0))
    assert (ours.ours, ours.theirs, ours.measure) == (FORCE, FORCE, "coverage")


def test_what_is_recovered_of_a_gap_tells_how_far_runs_agree() -> None:
    def filled(seed: int, chosen: float) -> RunRows:
        # Coverage 0.9 above a floor of 0.5, and a method in between.
        run, voted = a_run(seed, 0.9, 0.5), a_run(seed, chosen, 0.5).rows[FORCE].solved
        rows = {**run.rows, FORCE: replace(run.rows[FORCE], chosen={"majority": voted})}
        return replace(run, rows=rows)

    gap = ((FORCE, "majority"), (FORCE, "coverage"), (SEEDS, "coverage"))
    alike = recovered([filled(1, 0.7), filled(2, 0.7)], *gap)
    assert (alike.mean, alike.low, alike.high) == pytest.approx((0.5, 0.5, 0.5))
    apart = recovered([filled(1, 0.9), filled(2, 0.5)], *gap)
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.5, 0.0, 1.0))
