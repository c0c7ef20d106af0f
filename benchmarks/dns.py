"""Dominated Novelty Search against a plain double loop over candidates and families.

    python -m benchmarks.dns [--sizes 24x250 256x2000 1024x2000] [--cases 1000] [--quick] [--json]

Times our survival and the plain loop (exact fractions, one family after the other) on random skill
vectors; the loop at the largest sizes is timed on some candidates and scaled up, and says so. Also:
are both the same, novelty for novelty, on random cases with missing entries?
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
from evolution.selection.settings import SelectionSettings
from evolution.selection.survival import dominated_novelty, survive

LOOPED = 40
"""Candidates that the plain loop is timed on where all would take minutes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", default=["24x250", "256x2000", "1024x2000"])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a smoke test on small boards")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes, cases = (["24x250"], 50) if options.quick else (options.sizes, options.cases)
    rows = [measure(*map(int, size.split("x"))) for size in sizes]
    differing = sum(not agrees(case) for case in range(cases))
    last = rows[-1]
    report = {
        "bench": "dns",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            {
                "name": f"survival at {last['candidates']} x {last['families']}",
                "value": last["seconds"],
                "unit": "s",
                "goal": "< 1",
                "met": last["seconds"] < 1.0,
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


def measure(candidates: int, families: int) -> dict[str, Any]:
    pool, names = drawn(random.Random(0), candidates, families, missing=0.02)
    begun = time.perf_counter()
    survive(pool, names, max(1, candidates // 2), SelectionSettings())
    ours = time.perf_counter() - begun
    # All at random differ; their order does not matter to the time.
    looped = range(1, candidates, max(1, candidates // LOOPED))
    begun = time.perf_counter()
    plain_novelties(pool, names, looped)
    plain = time.perf_counter() - begun
    scale = (candidates * (candidates - 1) / 2) / sum(looped)
    return {
        "candidates": candidates,
        "families": families,
        "seconds": round(ours, 4),
        "plain_seconds": round(plain * scale, 3),
        "plain_rows_timed": len(looped),
        "faster": round(plain * scale / ours, 1),
    }


def drawn(
    rng: random.Random, candidates: int, families: int, missing: float
) -> tuple[list[Candidate], list[str]]:
    names = [f"f{index}" for index in range(families)]
    hard = [rng.random() for _ in names]
    pool = []
    for index in range(candidates):
        skill = rng.random()
        skills = {
            name: rng.random() < skill * (1 - difficulty)
            for name, difficulty in zip(names, hard, strict=True)
            if rng.random() >= missing
        }
        pool.append(Candidate(f"c{index}", skills, generation=index // 8, birth=index % 8))
    return pool, names


def agrees(case: int) -> bool:
    """Whether ours and the plain loop rank a random pool alike, novelty for novelty."""
    rng = random.Random(case)
    pool, names = drawn(rng, rng.randint(1, 14), rng.randint(1, 30), missing=0.3 * rng.random())
    board = Board.of(pool, names)
    ours = [
        (board.candidates[row].id, novelty)
        for row, novelty in dominated_novelty(
            board, distance="weighted", ratio_to="all", neighbours=3
        )
    ]
    field = competing(pool)
    novelties = plain_novelties(field, names, range(len(field)))
    loop = sorted(zip(field, novelties, strict=True), key=lambda pair: -pair[1])
    ahead = [(candidate.id, float(novelty)) for candidate, novelty in loop]
    return ours[: len(ahead)] == ahead and all(novelty == 0.0 for _, novelty in ours[len(ahead) :])


def competing(pool: list[Candidate]) -> list[Candidate]:
    """The oldest of each set of equal skills, in the canonical order."""
    field: list[Candidate] = []
    for candidate in sorted(pool, key=lambda each: each.seniority):
        if all(candidate.skills != other.skills for other in field):
            field.append(candidate)

    def unique(candidate: Candidate) -> int:
        return sum(
            passed and not any(o.skills.get(name) for o in field if o is not candidate)
            for name, passed in candidate.skills.items()
        )

    def rank(candidate: Candidate) -> tuple[Fraction, int, tuple[int, int, str]]:
        verdicts = list(candidate.skills.values())
        fitness = Fraction(sum(verdicts), max(1, len(verdicts)))
        return (-fitness, -unique(candidate), candidate.seniority)

    return sorted(field, key=rank)


def plain_novelties(
    field: list[Candidate], families: list[str], rows: range, neighbours: int = 3
) -> list[Fraction]:
    """The definition: mean of the smallest d(i, j) over those before i in the canonical order."""
    fails = {name: sum(each.skills.get(name) is False for each in field) for name in families}
    result = []
    for i in rows:
        ours, found = field[i].skills, []
        for other in field[:i]:
            above = below = 0
            for name in families:
                if name in ours and name in other.skills:
                    below += fails[name]
                    if ours[name] and not other.skills[name]:
                        above += fails[name]
            found.append(Fraction(100 * above, below) if below else Fraction(0))
        nearest = sorted(found)[:neighbours]
        result.append(sum(nearest, Fraction(0)) / len(nearest) if nearest else Fraction(999))
    return result


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    lines += [
        f"{row['candidates']:>5} x {row['families']:<5} ours {row['seconds']:.4f} s  "
        f"plain loop {row['plain_seconds']:.3f} s  {row['faster']} times"
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
