"""What one merged expert can do: ways to merge the three seeds, on the same fresh questions.

    python -m benchmarks.merging [--each 8] [--texts 16] [--only NAME ...] [--json]

Each seed answers calibration questions of all generators that the seeds were trained on; what it
passes, with its own replies, is what RegMean knows of it, as in a run. All merges then answer other
questions, `--each` of each generator, greedily. Printed: accuracy at the three domains, how far it
is from that of RegMean x 1.2 with an interval (paired, over generators), seconds of the merge; and
what a merge costs. Routes pick one seed for each question, and its answer is theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.intervals import cluster_bootstrap
from benchmarks.machine import describe_machine
from benchmarks.merging_bench import Answered, Bench, Text, questions
from benchmarks.merging_costs import costs
from benchmarks.merging_variants import norms, overlap
from benchmarks.merging_ways import REFERENCE, Ways
from benchmarks.reporting import goal_lines, heading, show_progress
from console.run.config import cache_folder
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from memory.threads import done_in_own_thread
from seeds.domains import DOMAINS, domain_of
from seeds.questions import HELD_OUT_SEED, Question

CALIBRATION_SEED = 777_000_000
"""Neither of the training nor of what is measured."""

EITHER = "any of the seeds"


@dataclass(frozen=True)
class Row:
    """One expert, or route.

    Attributes:
        passed: question by question.
        seconds: of the merge; None where nothing is merged.
    """

    name: str
    passed: Sequence[bool]
    seconds: float | None = None


def routed_rows(
    alone: Mapping[str, Sequence[bool]], routes: Mapping[str, Sequence[int]]
) -> list[Row]:
    """Rows of what picks one seed for each question, and of what any of them passes."""
    asked = list(zip(*alone.values(), strict=True))  # question by question
    rows = [
        Row(name, [seeds[place] for seeds, place in zip(asked, route, strict=True)])
        for name, route in routes.items()
    ]
    return [*rows, Row(EITHER, [any(seeds) for seeds in asked])]


def summary(row: Row, asked: Sequence[Question], reference: Row | None) -> dict[str, Any]:
    """Accuracy by domain, and the paired difference from a reference, over generators."""
    domains = [domain_of(question.generator) for question in asked]
    found: dict[str, Any] = {"name": row.name}
    for domain in DOMAINS:
        at = [passed for passed, of in zip(row.passed, domains, strict=True) if of == domain]
        found[domain] = round(statistics.mean(at), 3)
    found["mean"] = round(statistics.mean(row.passed), 3)
    found["passed"] = "".join("01"[passed] for passed in row.passed)
    if reference is not None and reference is not row:
        differences: dict[str, list[float]] = {}
        for question, one, other in zip(asked, row.passed, reference.passed, strict=True):
            differences.setdefault(question.generator, []).append(float(one) - float(other))
        interval = cluster_bootstrap(differences)
        found["difference"] = round(interval.mean, 3)
        found["interval"] = [round(interval.low, 3), round(interval.high, 3)]
    if row.seconds is not None:
        found["seconds"] = round(row.seconds, 1)
    return found


async def measure(bank: Bank, options: argparse.Namespace) -> dict[str, Any]:
    """Ask all rows that are wanted."""
    bench = Bench(bank, options.answers)
    seeds = {n: bank.seed_genome(n) for n in bank.seed_names if n != bank.base_name}
    pool = questions(CALIBRATION_SEED, options.calibrate)
    fresh = questions(HELD_OUT_SEED, options.each)
    answered: dict[str, list[Answered]] = {}
    for name, genome in seeds.items():
        show_progress(f"{name}: {len(pool)} questions to calibrate")
        answered[name] = await bench.ask(genome, pool)
    passed = {
        name: [bench.text(each) for each in answers if each.passed]
        for name, answers in answered.items()
    }
    prompts = [bench.text(each) for each in answered[next(iter(seeds))]]
    with tempfile.TemporaryDirectory() as scratch:
        ways = Ways(bank, passed, options.texts, Path(scratch), options.steps)
        members = ways.members(options.texts)
        found: dict[str, Any] = {}
        if options.repeats:
            show_progress("costs of a merge")
            found = await done_in_own_thread(
                lambda: costs(bank, members, options.repeats, Path(scratch))
            )
        rows = await _rows(bench, ways, fresh, pool, options.only)
    if set(seeds) <= {row.name for row in rows}:
        alone = {name: next(r.passed for r in rows if r.name == name) for name in seeds}
        asked = [bench.text(Answered(q, bench.chat(q), "", False)) for q in fresh]
        show_progress("routes")
        routes = await done_in_own_thread(lambda: _routes(ways, asked, prompts))
        rows += routed_rows(alone, routes)
    await bench.broker.close()
    reference = next((row for row in rows if row.name == REFERENCE), None)
    if reference is not None and rows[-1].name == EITHER:
        more = [a or b for a, b in zip(rows[-1].passed, reference.passed, strict=True)]
        rows.append(Row(f"{EITHER}, or {REFERENCE}", more))
    return {
        "bench": "merging",
        "machine": describe_machine(),
        "questions": len(fresh),
        "texts": {name: len(member.texts) for name, member in zip(seeds, members, strict=True)},
        "tokens": {
            name: sum(map(len, member.texts)) for name, member in zip(seeds, members, strict=True)
        },
        "passed": {name: len(of) for name, of in passed.items()},
        "overlap": round(overlap(ways.seeds), 3),
        "rows": [summary(row, fresh, reference) for row in rows],
        "goals": found.pop("goals", []),
        "costs": found,
    }


async def _rows(
    bench: Bench,
    ways: Ways,
    fresh: Sequence[Question],
    pool: Sequence[Question],
    only: Sequence[str],
) -> list[Row]:
    rows = []
    for name, way in ways.by_name().items():
        if only and name not in only:
            continue
        if "entropy" in name:
            genome, _ = await done_in_own_thread(ways.by_name()[REFERENCE])
            ways.own[:] = [bench.text(each) for each in await bench.ask(genome, pool)]
        genome, seconds = await done_in_own_thread(way)
        merged = None if name in ways.passed else seconds
        answers = await bench.ask(genome, fresh)
        rows.append(Row(name, [each.passed for each in answers], merged))
        show_progress(line(summary(rows[-1], fresh, None)))
    return rows


def _routes(ways: Ways, asked: Sequence[Text], known: Sequence[Text]) -> dict[str, Sequence[int]]:
    """Which seed each question goes to, by how much each adds to what its prompt ends with."""
    by_matrix = norms(ways.bank, ways.seeds, [text.prompt for text in asked])
    usual = norms(ways.bank, ways.seeds, [text.prompt for text in known])
    last = [name for name in by_matrix if name.endswith("q_proj.weight")][-1]
    relative = [rows / usual[name].mean(axis=0) for name, rows in by_matrix.items()]
    return {
        "LoGo: last queries": by_matrix[last].argmax(axis=1).tolist(),
        "LoGo: all, relative to calibration": np.mean(relative, axis=0).argmax(axis=1).tolist(),
    }


def line(row: Mapping[str, Any]) -> str:
    at = " ".join(f"{domain} {row[domain]:.2f}" for domain in DOMAINS)
    text = f"{row['name']:<36} {at}  mean {row['mean']:.3f}"
    if "difference" in row:
        low, high = row["interval"]
        text += f"  {row['difference']:+.3f} ({low:+.3f} .. {high:+.3f})"
    return text + (f"  merged in {row['seconds']:.1f} s" if "seconds" in row else "")


def table(report: Mapping[str, Any]) -> str:
    about = {key: report[key] for key in ("questions", "texts", "tokens", "overlap", "costs")}
    rows = [line(row) for row in report["rows"]]
    return "\n".join([heading(dict(report)), *rows, *goal_lines(dict(report)), str(about)])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--each", type=int, default=8, help="fresh questions of each generator")
    parser.add_argument("--calibrate", type=int, default=10, help="likewise, to calibrate")
    parser.add_argument("--texts", type=int, default=16, help="passed ones that are read, per seed")
    parser.add_argument("--steps", type=int, default=24, help="of what is learned")
    parser.add_argument("--repeats", type=int, default=3, help="of timings; 0 leaves them out")
    parser.add_argument("--only", nargs="+", default=[], help="rows that are wanted")
    parser.add_argument("--answers", type=Path, default=None, help="folder to keep answers in")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few questions and rows")
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    options = arguments().parse_args()
    if options.quick:
        options.each, options.texts, options.repeats = 1, 4, 1
        options.only = options.only or ["mean", REFERENCE]
    bank = load_bank(ModelSettings(), SpectralSettings(), cache_folder())
    report = asyncio.run(measure(bank, options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
