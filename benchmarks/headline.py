"""The paper's comparison on the quickstart family: does it beat the seeds, and one merge of them?

    python -m benchmarks.headline [--seeds 1 2 3 4 5] [--each 12] [--write] [--quick] [--json]
    python -m benchmarks.headline --pick --seeds 0

Each run seed coevolves the quickstart (or goes on with it). Then three sets of fresh reasoning-gym
tasks are put to all runs, as `acdc evaluate --baselines` does:

- *near*: generators that are in the history of some run, on the rungs that its families ask;
- *same category*: generators that no run has ever asked, of a category or field that some history
  has, whose questions stay below 1,000 characters, and of which some seed solves 5 % in a pilot on
  other instances;
- *far*: the same, of categories and fields that no history has.

Generators whose constant answer passes most of their tasks are named, and left out of what is
shown. `--leave-out` skips a set.

Nothing is chosen by these tasks, and run seed 0, on which defaults were tuned, is left out. It is
also where the method of best-of-N was picked whose goal is reported: `--pick`, which comes first,
shows how the methods do on other instances of generators that run seed 0 has seen, and what it
asked is left out of the comparison in the same folder. Answers are kept: a second call is quick, an
interrupted one goes on.
`--write` puts the tables into docs/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import reasoning_gym

from agents.evaluation.rows import headline, unlearnt
from agents.evaluation.run import COSTLY, Plan
from agents.evaluation.tasks import read_tasks
from benchmarks.headline_tables import RESULTS, chosen_table, goals, tables, write
from benchmarks.headline_tasks import (
    PICK_SEED,
    apart,
    asked_texts,
    drawn_in,
    fresh_tasks,
    seen_lines,
    show_event,
    task_file,
    unseen_lines,
)
from benchmarks.machine import describe_machine
from benchmarks.reporting import run_as_command
from console.commands.evaluate import evaluate
from console.commands.measured import report
from console.run.coevolution import coevolve
from console.run.folder import RunFolder

SIZES = (1, 3, 8)
SETS = ("near", "same category", "far")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--each", type=int, default=12, help="tasks of each generator")
    parser.add_argument("--folder", type=Path, default=Path("runs/headline"))
    parser.add_argument("--set", action="append", default=[], help="configuration of the runs")
    parser.add_argument(
        "--leave-out", action="append", default=[], choices=SETS, help="a set that is not measured"
    )
    parser.add_argument(
        "--without", action="append", default=[], choices=COSTLY, help="a baseline, not measured"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {RESULTS}")
    parser.add_argument("--pick", action="store_true", help="methods of best-of-N, other instances")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny runs, few tasks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("a smoke test has no results to write: leave out --quick or --write")
    options.candidates = sorted(reasoning_gym.factory.DATASETS)
    if options.quick:
        options.seeds, options.each = options.seeds[:2], 2
        options.candidates = ["caesar_cipher", "string_synthesis"]
        options.set += ["generations=1", "pool.capacity=6", "pool.adaptations=0"]
        # Beside the real runs, which would be refused as they are configured otherwise.
        options.folder /= "quick"
    if options.pick:
        print("\n".join(asyncio.run(pick(options))))
        return 0
    found = asyncio.run(measure(options))
    if options.write:
        write(found)
    print(json.dumps(found, indent=2) if options.json else "\n".join(tables(found)))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    folders = [await coevolved(seed, options) for seed in options.seeds]
    seen = seen_lines(folders, options.each)
    sets_of = {"near": seen, **apart(folders, await unseen(folders[0], seen, options))}
    # What the pilot asked, and what a method was picked by, is no test any more.
    asked = [options.folder / "pilot.jsonl", options.folder / "pick.jsonl"]
    kept = drawn_in(options.folder)
    known = asked_texts(folders, asked, kept)
    sets, listed = {}, []
    for name, lines in sets_of.items():
        if lines and name not in options.leave_out:
            fresh = [task.model_dump(mode="json") for task in fresh_tasks(lines, known, kept)]
            tasks = read_tasks([task_file(options.folder, name.replace(" ", "-"), fresh)])
            plan = Plan(tasks, SIZES, baselines=True, without=options.without)
            # One book: the seeds are the same genomes in every run, and answer once.
            runs = await evaluate(folders, plan, show_event, book=options.folder / "answers")
            sets[name] = report(runs, None)
            listed += goals(name, sets[name], headline(unlearnt(runs)))
    return {
        "bench": "headline",
        "machine": describe_machine(),
        "run_seeds": options.seeds,
        "rows": [{"set": name, **row} for name, of in sets.items() for row in of["rows"]],
        "differences": [
            {"set": name, **each} for name, of in sets.items() for each in of["differences"]
        ],
        "runs": {name: of["runs"] for name, of in sets.items()},
        "tasks": {name: [of["tasks"], of["generators"]] for name, of in sets.items()},
        "guessed": {name: of["guessed"] for name, of in sets.items()},
        "goals": listed,
    }


async def unseen(
    folder: RunFolder, seen: list[dict[str, Any]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Datasets that no run has asked; no pilot is held for what is left out."""
    if {"same category", "far"} <= set(options.leave_out):
        return []
    return await unseen_lines(folder, seen, options)


async def pick(options: argparse.Namespace) -> list[str]:
    """Methods of best-of-N on instances that the comparison does not ask."""
    folders = [await coevolved(seed, options) for seed in options.seeds]
    lines = seen_lines(folders, options.each, PICK_SEED)
    kept = drawn_in(options.folder)
    asked = asked_texts(folders, [options.folder / "pilot.jsonl"], kept)
    fresh = fresh_tasks(lines, asked, kept)
    found = [task.model_dump(mode="json") for task in fresh]
    tasks = read_tasks([task_file(options.folder, "pick", found)])
    plan = Plan(tasks, SIZES)
    of = report(await evaluate(folders, plan, show_event, book=options.folder / "answers"), None)
    rows = [row for row in of["rows"] if row["name"] == "force"]
    covered = ", ".join(f"{row['coverage']:.3f} at N = {row['n']}" for row in rows)
    said = [
        f"{len(tasks)} tasks of {of['generators']} generators. Coverage of the force: {covered}."
    ]
    return said + chosen_table([row for row in rows if row["n"] > 1], of["differences"])


async def coevolved(seed: int, options: argparse.Namespace) -> RunFolder:
    folder = RunFolder(options.folder / f"seed-{seed}")
    await coevolve(folder, folder.begin(None, (f"seed={seed}", *options.set)), show_event)
    return folder


if __name__ == "__main__":
    run_as_command(main)
