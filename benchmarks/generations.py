"""Does Coverage of fresh tasks grow with the generations of a run, and who brings it?

    python -m benchmarks.generations RUN [RUN ...] [--every 4] [--each 6] [--json]

Runs are begun elsewhere (`acdc run DIR --set generations=20 --set population.children=8`); one that
still goes on, or stopped, is read as far as it came. Fresh reasoning-gym tasks of the generators in
their histories, on the rungs that were asked and with no question that was, are put to the archive
of every few generations: its greedy forces of 1, 3 and 8, chosen on what the run itself had graded
by then. Everybody answers greedily. Beside them stand the seeds and the merge with which the run
began, and the change since the archive of the founders is paired by task, with an interval over
generators and runs. Answers are kept beside the first run, so a second call is quick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.context import ReadContext
from agents.evaluation.bench import Bench
from agents.evaluation.contenders import Line, Seat, contenders
from agents.evaluation.intervals import paired_intervals
from agents.evaluation.tasks import Task, read_tasks
from agents.task_force.field import founding_merge
from benchmarks.headline_tasks import (
    asked_texts,
    drawn_in,
    fresh_tasks,
    seen_lines,
    show_event,
    task_file,
)
from benchmarks.machine import describe_machine
from benchmarks.reporting import heading, run_as_command
from console.run.folder import RunFolder
from console.run.reading import open_reading, open_scoring
from evolution.selection import task_force
from memory.records import Expert
from memory.store import RunStore

SIZES = (1, 3, 8)


@dataclass(frozen=True)
class Asked:
    """What one run's experts made of the tasks.

    Attributes:
        forces: (name of the row, N) -> who answers.
        operators: name of the row -> operators of its archive, with counts.
        solved: expert -> task id -> whether it is right.
    """

    forces: Mapping[tuple[str, int], tuple[str, ...]]
    operators: Mapping[str, Mapping[str, int]]
    solved: Mapping[str, Mapping[str, bool]]

    def covered(self, place: tuple[str, int], task: Task) -> bool:
        """Whether at least one of a force is right."""
        return any(self.solved[expert][task.id] for expert in self.forces[place])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--every", type=int, default=4, help="generations between two archives")
    parser.add_argument("--each", type=int, default=6, help="tasks of each generator")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure([RunFolder(run) for run in options.runs], options))
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0


async def measure(folders: Sequence[RunFolder], options: argparse.Namespace) -> dict[str, Any]:
    place = folders[0].path.parent / "generations"
    lines = seen_lines(folders, options.each)
    kept = drawn_in(place)
    drawn = fresh_tasks(lines, asked_texts(folders, [], kept), kept)
    file = task_file(place, "fresh", [task.model_dump(mode="json") for task in drawn])
    tasks = read_tasks([file])
    runs = [await ask(folder, tasks, options.every, place / "answers") for folder in folders]
    return {
        "bench": "generations",
        "machine": describe_machine(),
        "runs": [str(folder.path) for folder in folders],
        "tasks": len(tasks),
        "generators": len({task.cluster for task in tasks}),
        "rows": rows(runs, tasks),
    }


async def ask(folder: RunFolder, tasks: Sequence[Task], every: int, place: Path) -> Asked:
    """Everybody who stands in a row answers each task once."""
    async with (
        open_reading(folder, folder.config(), show_event) as context,
        open_scoring(context) as sandbox,
    ):
        forces, operators = standing(context, every)
        names = sorted({name for force in forces.values() for name in force})
        field = contenders(context, names)
        seats = [Line(each.name, (Seat(each),)) for each in field]
        with RunStore.open(place) as book:
            bench = Bench(context, book, sandbox, tasks, context.config.judge.max_tokens)
            await bench.answer_all(seats)
        solved = {
            line.name: {
                task: bool(outcome.passed) for task, outcome in bench.sheet(line.seats[0]).items()
            }
            for line in seats
        }
    return Asked(forces, operators, solved)


def standing(
    context: ReadContext, every: int
) -> tuple[dict[tuple[str, int], tuple[str, ...]], dict[str, dict[str, int]]]:
    """The rows of a run: who is in the forces of each N, and operators of whole archives."""
    store = context.store
    latest = store.latest_archive()
    if latest is None:
        raise SystemExit(f"{context.folder} has selected nobody yet")
    last = latest[0]
    founders = store.experts(0)
    merge = founding_merge(store)
    archives = {"seeds": (0, [expert for expert in founders if expert.is_seed])}
    if isinstance(merge, Expert):
        archives["founding merge"] = (0, [merge])
    for generation in sorted({*range(0, last, every), last}):
        members = [store.expert(entry.expert) for entry in store.archive(generation)]
        archives[f"generation {generation}"] = (generation, members)
    forces, operators = {}, {}
    for name, (generation, members) in archives.items():
        period = context.period_of(generation)
        known = {expert.id: store.skill_counts(expert.id, period) for expert in members}
        families = sorted(set[str]().union(*known.values()))
        for n in SIZES:
            if n == 1 or n <= len(members):
                forces[name, n] = task_force(known, families, n).experts
        operators[name] = dict(Counter(expert.operator for expert in members))
    return forces, operators


def rows(runs: Sequence[Asked], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Means over tasks and runs that have the row, and the change since the founders' archive."""
    clusters = [task.cluster for _ in runs for task in tasks]
    of_run = [number for number, _ in enumerate(runs) for _ in tasks]

    def column(place: tuple[str, int]) -> list[float]:
        return [
            float(run.covered(place, task)) if place in run.forces else np.nan
            for run in runs
            for task in tasks
        ]

    found = []
    for place in dict.fromkeys(place for run in runs for place in run.forces):
        name, n = place
        values = np.array(column(place))
        change = values - np.array(column(("generation 0", n)))
        both = np.stack([values, change], axis=1)
        coverage, gain = paired_intervals(both, clusters, runs=of_run)
        counts = Counter[str]()
        for run in runs:
            counts.update(run.operators.get(name, {}))
        found.append(
            {
                "who": name,
                "n": n,
                "coverage": round(coverage.mean, 4),
                "interval": [round(coverage.low, 4), round(coverage.high, 4)],
                "change": round(gain.mean, 4),
                "change_interval": [round(gain.low, 4), round(gain.high, 4)],
                "forces": [list(run.forces.get(place, ())) for run in runs],
                "operators": dict(
                    sum((Counter(run.operators.get(name)) for run in runs), Counter())
                ),
            }
        )
    return found


def table(report: dict[str, Any]) -> str:
    lines = [
        heading(report),
        f"{len(report['runs'])} runs, {report['tasks']} fresh tasks of {report['generators']} "
        "generators; 95 % intervals over generators and runs",
        f"{'who':<16} {'N':>2} {'Coverage':>24} {'since generation 0':>26}  operators",
    ]
    for row in report["rows"]:
        low, high = row["interval"]
        least, most = row["change_interval"]
        operators = ", ".join(f"{count} {name}" for name, count in row["operators"].items())
        coverage = f"{row['coverage']:.3f} [{low:.3f}, {high:.3f}]"
        change = f"{row['change']:+.3f} [{least:+.3f}, {most:+.3f}]"
        lines.append(
            f"{row['who']:<16} {row['n']:>2} {coverage:>24} {change:>26}  "
            + (operators if row["n"] == 1 else "")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_as_command(main)
