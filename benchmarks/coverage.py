"""How long the arithmetic of an evaluation takes: a greedy force of 8 and all its intervals.

    python -m benchmarks.coverage [--tasks 10000] [--experts 64] [--json]

Made-up skill vectors, in clusters of ten tasks and, as the hardest case, every task a cluster of
its own. Timed: bit masks, the lazy greedy choice, and 95 % intervals (10,000 resamples) of the
Coverage of all eight prefixes and of their differences to the eight fittest experts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import paired_intervals
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading
from evolution.selection.coverage import Passes, task_force

GOAL_SECONDS = 5.0
SIZE = 8

Table = dict[str, dict[str, bool]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="a smoke test: 300 tasks, 12 experts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.experts = 300, 12
    report = measure(options.tasks, options.experts)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(tasks: int, experts: int) -> dict[str, Any]:
    skills, items = made_up(tasks, experts)
    rows = [timed(skills, items, per_cluster) for per_cluster in (10, 1)]
    worst = max(row["seconds"] for row in rows)
    return {
        "bench": "coverage",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            {
                "name": f"greedy force of {SIZE} and all intervals, {tasks} tasks x {experts}",
                "value": worst,
                "unit": "s",
                "goal": f"< {GOAL_SECONDS}",
                "met": worst < GOAL_SECONDS,
            }
        ],
    }


def made_up(tasks: int, experts: int) -> tuple[Table, list[str]]:
    """Experts of different strength, each with a home among the tasks."""
    rng = np.random.default_rng(0)
    strength = rng.uniform(0.02, 0.3, size=(experts, 1))
    home = rng.integers(0, 40, size=(experts, 1)) == np.arange(tasks)[None, :] % 40
    passed = rng.random((experts, tasks)) < np.where(home, 0.7, strength)
    items = [f"task-{index}" for index in range(tasks)]
    return {
        f"expert-{number}": dict(zip(items, map(bool, row), strict=True))
        for number, row in enumerate(passed)
    }, items


def timed(skills: Table, items: list[str], per_cluster: int) -> dict[str, Any]:
    clusters = [f"cluster-{index // per_cluster}" for index in range(len(items))]
    start = time.perf_counter()
    force = task_force(skills, items, SIZE)
    chosen = time.perf_counter()
    fitness = Passes.of(skills, items).fitness
    fittest = sorted(skills, key=lambda expert: -fitness[expert])[:SIZE]
    ours, theirs = solved(skills, items, force.experts), solved(skills, items, fittest)
    intervals = paired_intervals(np.hstack([ours, ours - theirs]), clusters)
    done = time.perf_counter()
    assert abs(intervals[SIZE - 1].mean - force.coverage[-1]) < 1e-9
    return {
        "tasks": len(items),
        "experts": len(skills),
        "clusters": len(set(clusters)),
        "coverage": round(force.coverage[-1], 4),
        "coverage_ci": [round(intervals[SIZE - 1].low, 4), round(intervals[SIZE - 1].high, 4)],
        "greedy_seconds": round(chosen - start, 3),
        "interval_seconds": round(done - chosen, 3),
        "seconds": round(done - start, 3),
    }


def solved(skills: Table, items: list[str], experts: Sequence[str]) -> NDArray[np.float64]:
    """(items, experts): whether the first 1, 2, .. N experts solve an item."""
    passes = np.array([[skills[expert][item] for expert in experts] for item in items])
    return np.maximum.accumulate(passes, axis=1).astype(float)


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    lines += [
        f"{row['tasks']} tasks x {row['experts']} experts, {row['clusters']} clusters: greedy "
        f"{row['greedy_seconds']:.2f} s, intervals {row['interval_seconds']:.2f} s"
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
