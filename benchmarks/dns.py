"""Dominated Novelty Search against a plain double loop over candidates and families.

    python -m benchmarks.dns [--sizes 24x250 200x200 ...] [--cases 1000] [--quick] [--json]

Times our survival and the plain loop (exact fractions, one family after the other) on random skill
vectors, of closed families (a verdict each) and of generative ones (four instances each); the loop
at the largest sizes is timed on some candidates and scaled up, and says so. Also: are both the
same, novelty for novelty, on random cases of either kind with missing entries?
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from fractions import Fraction
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading
from evolution.selection.board import Board, Candidate
from evolution.selection.rates import GRID
from evolution.selection.settings import SelectionSettings
from evolution.selection.survival import dominated_novelty, survive
from memory.records import Skill

SIZES = ["24x250", "200x200", "256x2000", "1024x2000"]

LOOPED = 40
"""Candidates that the plain loop is timed on where all would take minutes."""

INSTANCES = (1, 4)
"""Asked per family: the verdict on a closed family, or instances of a generative one."""

Rates = dict[str, dict[str, int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a smoke test on small boards")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes, cases = (["24x250"], 50) if options.quick else (options.sizes, options.cases)
    rows = [measure(size, n) for size in sizes for n in INSTANCES]
    differing = sum(not agrees(case) for case in range(cases))
    slowest = max(rows, key=lambda row: row["seconds"])
    report = {
        "bench": "dns",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            {
                "name": f"slowest survival, at {slowest['candidates']} x {slowest['families']} x "
                f"{slowest['instances']}",
                "value": slowest["seconds"],
                "unit": "s",
                "goal": "< 1",
                "met": slowest["seconds"] < 1.0,
            },
            {
                "name": f"cases of {cases} that differ from the plain loop",
                "value": differing,
                "unit": "1",
                "goal": 0,
                "met": differing == 0,
            },
        ],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0 if differing == 0 else 1


def measure(size: str, instances: int) -> dict[str, Any]:
    candidates, families = map(int, size.split("x"))
    pool, names = drawn(random.Random(0), candidates, families, instances, missing=0.02)
    chances = dict.fromkeys(names, 0.0)
    begun = time.perf_counter()
    survive(pool, names, max(1, candidates // 2), SelectionSettings(), chances)
    ours = time.perf_counter() - begun
    rates = rates_of(Board.of(pool, names, chances), names)
    # All at random differ; their order does not matter to the time.
    looped = range(1, candidates, max(1, candidates // LOOPED))
    begun = time.perf_counter()
    plain_novelties(pool, rates, names, looped)
    plain = time.perf_counter() - begun
    scale = (candidates * (candidates - 1) / 2) / sum(looped)
    return {
        "candidates": candidates,
        "families": families,
        "instances": instances,
        "seconds": round(ours, 4),
        "plain_seconds": round(plain * scale, 3),
        "plain_rows_timed": len(looped),
        "faster": round(plain * scale / ours, 1),
    }


def drawn(
    rng: random.Random, candidates: int, families: int, instances: int, missing: float
) -> tuple[list[Candidate], list[str]]:
    names = [f"f{index}" for index in range(families)]
    hard = [rng.random() for _ in names]
    pool = []
    for index in range(candidates):
        ability = rng.random()
        skills = {
            name: Skill(
                passes=sum(rng.random() < ability * (1 - hardness) for _ in range(instances)),
                asked=instances,
            )
            for name, hardness in zip(names, hard, strict=True)
            if rng.random() >= missing
        }
        pool.append(Candidate(f"c{index}", skills, generation=index // 8, birth=index % 8))
    return pool, names


def rates_of(board: Board, names: list[str]) -> Rates:
    """Candidate -> graded family -> rate, in units of 1 / GRID."""
    rows = zip(board.candidates, board.rates.tolist(), board.graded.tolist(), strict=True)
    return {
        candidate.id: {n: rate for n, rate, told in zip(names, row, graded, strict=True) if told}
        for candidate, row, graded in rows
    }


def agrees(case: int) -> bool:
    """Whether ours and the plain loop rank a random pool alike, novelty for novelty."""
    rng = random.Random(case)
    sizes = rng.randint(1, 14), rng.randint(1, 30), INSTANCES[case % len(INSTANCES)]
    pool, names = drawn(rng, *sizes, missing=0.3 * rng.random())
    board = Board.of(pool, names, dict.fromkeys(names, 0.1))
    ours = [
        (board.candidates[row].id, novelty)
        for row, novelty in dominated_novelty(
            board, distance="weighted", ratio_to="all", neighbours=3
        )
    ]
    rates = rates_of(board, names)
    field = competing(pool, rates)
    novelties = plain_novelties(field, rates, names, range(len(field)))
    loop = sorted(zip(field, novelties, strict=True), key=lambda pair: -pair[1])
    ahead = [(candidate.id, float(novelty)) for candidate, novelty in loop]
    return ours[: len(ahead)] == ahead and all(novelty == 0.0 for _, novelty in ours[len(ahead) :])


def competing(pool: list[Candidate], rates: Rates) -> list[Candidate]:
    """The oldest of each set of equal rates, in the canonical order."""
    field: list[Candidate] = []
    for candidate in sorted(pool, key=lambda each: each.seniority):
        if all(rates[candidate.id] != rates[other.id] for other in field):
            field.append(candidate)

    def lead(candidate: Candidate) -> int:
        others = [rates[other.id] for other in field if other is not candidate]
        return sum(
            max(0, rate - max((other.get(name, 0) for other in others), default=0))
            for name, rate in rates[candidate.id].items()
        )

    def rank(candidate: Candidate) -> tuple[Fraction, int, tuple[int, int, str]]:
        own = list(rates[candidate.id].values())
        return (-Fraction(sum(own), max(1, len(own))), -lead(candidate), candidate.seniority)

    return sorted(field, key=rank)


def plain_novelties(
    field: list[Candidate], rates: Rates, families: list[str], rows: range, neighbours: int = 3
) -> list[Fraction]:
    """The definition: mean of the smallest d(i, j) over those before i in the canonical order."""
    members = [rates[each.id] for each in field]
    fails = {name: sum(GRID - own[name] for own in members if name in own) for name in families}
    result = []
    for i in rows:
        ours, found = rates[field[i].id], []
        for other in field[:i]:
            theirs = rates[other.id]
            above = below = 0
            for name in families:
                if name in ours and name in theirs:
                    below += fails[name] * GRID
                    if ours[name] > theirs[name]:
                        above += fails[name] * (ours[name] - theirs[name])
            found.append(Fraction(100 * above, below) if below else Fraction(0))
        nearest = sorted(found)[:neighbours]
        result.append(sum(nearest, Fraction(0)) / len(nearest) if nearest else Fraction(999))
    return result


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    lines += [
        f"{row['candidates']:>5} x {row['families']:<5} x {row['instances']}  "
        f"ours {row['seconds']:.4f} s  plain loop {row['plain_seconds']:.3f} s  "
        f"{row['faster']} times"
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
