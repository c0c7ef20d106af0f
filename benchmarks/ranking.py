"""How well does fitness tell experts apart? Simulated ones, whose abilities are known.

    python -m benchmarks.ranking [--worlds 200] [--pairs 2000] [--quick] [--json]

The model: expert i passes instance k of family t with probability

    c_t + (1 - c_t) logistic(a_i + g_it - b_t - d_tk)

with ability a_i ~ N(0, 0.5), talent for a family g_it ~ N(0, 1), difficulty of a family
b_t ~ N(1, 1.5) and of an instance d_tk ~ N(0, 1); every fourth family can be guessed, c_t = 0.25.
These spreads are chosen, not measured. All experts are asked the same instances. The truth is the
mean over families of (p_it - c_t) / (1 - c_t), where p_it is the mean over all instances there may
be.

Ways to measure it, all by the board of `evolution.selection`: closed families, which are passed if
both of two instances are; the plain rate of four instances with chance taken off; and rates that
are shrunk. Reported over worlds of 32 experts and 40 families: correlation with the truth, standard
error of fitness (its standard deviation over draws of the same experts and families), and by how
much the best one's fitness exceeds its truth. `uneven`: of each cell a few of the four are graded.

Then pairs of one expert, sampled twice: how often does the paired interval over families, of
`agents.evaluation.intervals`, declare one of them better?
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import paired_intervals
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading
from evolution.selection.board import Board, Candidate
from evolution.selection.rates import GRID
from memory.records import Skill

EXPERTS, FAMILIES, INSTANCES = 32, 40, 4
ABILITY, TALENT, DIFFICULTY, SPREAD, INSTANCE = 0.5, 1.0, 1.0, 1.5, 1.0
GUESSED = 0.25
DRAWS = 8
"""Measurements of the same experts and families, whose spread is the standard error."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Way = Callable[["World", np.random.Generator], Floats]


class World(NamedTuple):
    """Experts and families.

    Attributes:
        logits: (experts, families) of an instance of mean difficulty, without guessing.
        chance: (families,) what guessing passes.
    """

    logits: Floats
    chance: Floats

    def passed(self, instances: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(instances, experts, families) answers of all experts to the same fresh instances."""
        difficulty = rng.normal(0, INSTANCE, (instances, 1, len(self.chance)))
        solved = logistic(self.logits - difficulty)
        return rng.random(solved.shape) < self.chance + (1 - self.chance) * solved

    def truth(self) -> Floats:
        """(experts,) mean over families of what is passed beyond chance, by quadrature."""
        points, weights = np.polynomial.hermite_e.hermegauss(31)
        by_point = logistic(self.logits[..., None] - INSTANCE * points)
        solved: Floats = (by_point @ (weights / weights.sum())).mean(axis=1)
        return solved


def drawn(rng: np.random.Generator, experts: int) -> World:
    ability = rng.normal(0, ABILITY, (experts, 1))
    talent = rng.normal(0, TALENT, (experts, FAMILIES))
    difficulty = rng.normal(DIFFICULTY, SPREAD, FAMILIES)
    return World(ability + talent - difficulty, np.where(np.arange(FAMILIES) % 4, 0.0, GUESSED))


def logistic(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))


def closed(world: World, rng: np.random.Generator) -> Floats:
    both: Counts = np.asarray(world.passed(2, rng).all(axis=0), np.int64)
    return fitness(both, np.ones_like(both), None)


def plain(world: World, rng: np.random.Generator) -> Floats:
    passes = world.passed(INSTANCES, rng).sum(axis=0)
    return beyond(passes / INSTANCES, world.chance)


def shrunk(world: World, rng: np.random.Generator) -> Floats:
    passes: Counts = np.asarray(world.passed(INSTANCES, rng).sum(axis=0))
    return fitness(passes, np.full_like(passes, INSTANCES), world.chance)


def uneven(world: World, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Passes and graded instances, 1 to 4 of them in each cell."""
    asked = rng.integers(1, INSTANCES + 1, world.logits.shape)
    graded = np.arange(INSTANCES)[:, None, None] < asked
    return (world.passed(INSTANCES, rng) & graded).sum(axis=0), asked


def plain_uneven(world: World, rng: np.random.Generator) -> Floats:
    passes, asked = uneven(world, rng)
    return beyond(passes / asked, world.chance)


def shrunk_uneven(world: World, rng: np.random.Generator) -> Floats:
    return fitness(*uneven(world, rng), world.chance)


WAYS: dict[str, Way] = {
    "closed, two instances": closed,
    "four instances": plain,
    "four instances, shrunk": shrunk,
    "uneven": plain_uneven,
    "uneven, shrunk": shrunk_uneven,
}


def beyond(rates: Floats, chance: Floats) -> Floats:
    """(experts,) mean rate, chance taken off and not below 0, as the board does without a prior."""
    mean: Floats = np.maximum((rates - chance) / (1 - chance), 0).mean(axis=1)
    return mean


def fitness(passes: Counts, asked: Counts, chance: Floats | None) -> Floats:
    """(experts,) fitness on the board."""
    names = [f"f{index}" for index in range(passes.shape[1])]
    pool = [
        Candidate(
            str(index),
            {n: Skill(passes=p, asked=a) for n, p, a in zip(names, row, of, strict=True)},
            0,
            index,
        )
        for index, (row, of) in enumerate(zip(passes.tolist(), asked.tolist(), strict=True))
    ]
    chances = None if chance is None else dict(zip(names, chance.tolist(), strict=True))
    board = Board.of(pool, names, chances)
    found = np.zeros(len(pool))
    for candidate, rates in zip(board.candidates, board.rates, strict=True):
        found[candidate.birth] = rates.mean() / GRID
    return found


def measure(worlds: int) -> list[dict[str, Any]]:
    """A row for each way: means over worlds, all ways on the same worlds."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for seed in range(worlds):
        world = drawn(np.random.default_rng([seed, 0]), EXPERTS)
        truth = world.truth()
        for name, way in WAYS.items():
            rng = np.random.default_rng([seed, 1])
            draws = np.stack([way(world, rng) for _ in range(DRAWS)])
            best = draws.argmax(axis=1)
            found[name].append(
                (
                    float(np.mean([np.corrcoef(each, truth)[0, 1] for each in draws])),
                    float(np.sqrt(draws.var(axis=0, ddof=1).mean())),
                    float((draws.max(axis=1) - truth[best]).mean()),
                )
            )
    return [
        {"name": name} | {k: round(float(v), 4) for k, v in zip(KEYS, means, strict=True)}
        for name, values in found.items()
        for means in [np.mean(values, axis=0)]
    ]


KEYS = ("correlation", "standard_error", "excess_of_the_best")


def declared_better(pairs: int, batch: int = 100) -> float:
    """Share of pairs of one expert, sampled twice, whose paired interval excludes zero."""
    declared = 0
    for start in range(0, pairs, batch):
        size = min(batch, pairs - start)
        rng = np.random.default_rng([start, 2])
        world = drawn(rng, size)
        # A set of instances for each pair: pairs that share theirs would not be independent.
        difficulty = rng.normal(0, INSTANCE, (INSTANCES, size, FAMILIES))
        solved = logistic(world.logits - difficulty)
        probability = world.chance + (1 - world.chance) * solved
        first, second = (
            (rng.random(probability.shape) < probability).mean(axis=0) for _ in range(2)
        )
        families = [f"f{index}" for index in range(FAMILIES)]
        intervals = paired_intervals((first - second).T, families, seed=start)
        declared += sum(interval.excludes_zero for interval in intervals)
    return declared / pairs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="a smoke test: 10 worlds, 200 pairs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.worlds, options.pairs = 10, 200
    rows = measure(options.worlds)
    named = {row["name"]: row for row in rows}
    before, after = named["closed, two instances"], named["four instances, shrunk"]
    share = declared_better(options.pairs)
    report = {
        "bench": "ranking",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            {
                "name": "correlation with the truth, four instances shrunk over closed",
                "value": round(after["correlation"] - before["correlation"], 4),
                "unit": "1",
                "goal": "> 0",
                "met": after["correlation"] > before["correlation"],
            },
            {
                "name": "the best expert's fitness is off its truth, shrunk over plain",
                "value": round(excess(after) / excess(named["four instances"]), 3),
                "unit": "1",
                "goal": "< 0.5",
                "met": excess(after) < 0.5 * excess(named["four instances"]),
            },
            {
                "name": f"pairs of one expert sampled twice, of {options.pairs}, declared better "
                "at 5 %",
                "value": share,
                "unit": "1",
                "goal": "0.03 to 0.07",
                "met": 0.03 <= share <= 0.07,
            },
        ],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def excess(row: dict[str, Any]) -> float:
    return abs(float(row["excess_of_the_best"]))


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    lines += [
        f"{row['name']:<24} correlation {row['correlation']:.3f}  standard error "
        f"{row['standard_error']:.3f}  excess of the best {row['excess_of_the_best']:+.3f}"
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
