"""The paper's comparison on the quickstart family: does breeding beat resampling the seeds?

    python -m benchmarks.headline [--seeds 1 2 3 4 5] [--each 12] [--write] [--quick] [--json]

Each run seed coevolves the quickstart (or goes on with it). Then two sets of fresh reasoning-gym
tasks are put to all runs, as `acdc evaluate --baselines` does:

- *seen*: generators that are in the history of some run, on the rungs that its families ask;
- *unseen*: generators that no run has ever asked, and of which some seed solves 5 % in a pilot on
  other instances.

Nothing is chosen by these tasks, and run seed 0, on which defaults were tuned, is left out. Answers
are kept: a second call is quick, an interrupted one goes on. `--write` puts the tables into
docs/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import reasoning_gym

from agents.errors import TaskFileError
from agents.evaluation import Plan, Task, read_tasks
from agents.evaluation.bench import Bench
from agents.evaluation.lineup import Line, Voice, contenders
from agents.evaluation.tasks import GymDataset
from agents.offline.catalogue import entry_of
from agents.offline.sketches import read_sketch
from agents.progress import ProgressEvent
from benchmarks.machine import describe_machine
from console.assembly import open_context
from console.coevolution import coevolve
from console.evaluating import evaluate, report
from console.rundir import RunFolder
from memory.store import RunStore

SIZES = (1, 3, 8)
PILOT_SIZE, PILOT_SEED, TEST_SEED = 12, 90_001, 70_001
"""Instances of a generator in the pilot; seeds of its instances, and of those of the test."""
APART, SPARE = 1_000, 10
"""Between the seeds of two rungs: reasoning-gym adds seed and index, so near seeds share instances.
How many instances are drawn for each that is wanted."""
ENOUGH = 0.05
"""Share of the pilot that some seed has to solve."""
FEWEST_UNSEEN = 10
RESULTS = Path("docs/results.md")
BEGIN, END = "<!-- headline: begin -->", "<!-- headline: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--each", type=int, default=12, help="tasks of each generator")
    parser.add_argument("--folder", type=Path, default=Path("runs/headline"))
    parser.add_argument("--set", action="append", default=[], help="configuration of the runs")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {RESULTS}")
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
    found = asyncio.run(measure(options))
    if options.write:
        write(found)
    print(json.dumps(found, indent=2) if options.json else "\n".join(tables(found)))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    folders = [await coevolved(seed, options) for seed in options.seeds]
    seen = seen_lines(folders, options.each)
    unseen = await unseen_lines(folders[0], seen, options)
    known = asked_texts(folders, options.folder / "pilot.jsonl")
    sets = {}
    for name, lines in (("seen", seen), ("unseen", unseen)):
        if lines:
            fresh = [task.model_dump(mode="json") for task in fresh_tasks(lines, known)]
            tasks = read_tasks([task_file(options.folder, name, fresh)])
            plan = Plan(tasks, SIZES, baselines=True)
            # One book: the seeds are the same genomes in every run, and answer once.
            runs = await evaluate(folders, plan, told, book=options.folder / "answers")
            sets[name] = report(runs, None)
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
        "goals": [goal for name, of in sets.items() for goal in goals(name, of)],
    }


async def coevolved(seed: int, options: argparse.Namespace) -> RunFolder:
    folder = RunFolder(options.folder / f"seed-{seed}")
    await coevolve(folder, folder.begin(None, (f"seed={seed}", *options.set)), told)
    return folder


def told(event: ProgressEvent) -> None:
    if event.kind != "step":
        print(event.text, file=sys.stderr, flush=True)


def seen_lines(folders: Sequence[RunFolder], each: int) -> list[dict[str, Any]]:
    """Datasets of the generators in the histories, split evenly among the rungs that were asked."""
    rungs: dict[str, set[int]] = {}
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            for family in store.families():
                sketch = read_sketch(family.code)
                for generator in sketch.generators if sketch is not None else ():
                    rungs.setdefault(generator, set()).add(sketch.level if sketch else 1)
    lines = []
    for generator, levels in sorted(rungs.items()):
        for place, level in enumerate(sorted(levels)):
            size = each // len(levels) + (place < each % len(levels))
            if size:
                lines.append(line(generator, level, size, TEST_SEED + level * APART))
    return lines


def asked_texts(folders: Sequence[RunFolder], pilot: Path) -> str:
    """Everything that runs and the pilot have asked, examples in it too, in one text."""
    texts = [task.instructions for task in read_tasks([pilot])] if pilot.exists() else []
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            for family in store.families():
                texts += family.instructions.values()
    return "\n".join(map(plain, texts))


def fresh_tasks(lines: Sequence[dict[str, Any]], known: str) -> list[Task]:
    """Tasks of datasets that are not known word for word, none of them twice.

    Small datasets run dry; those have fewer tasks.
    """
    kept: dict[str, Task] = {}
    for each in lines:
        left = each["size"]
        drawn = json.dumps({**each, "size": left * SPARE})
        for task in GymDataset.model_validate_json(drawn).tasks():
            text = plain(task.instructions)
            if left and text not in kept and text not in known:
                kept[text] = task
                left -= 1
    return list(kept.values())


def plain(text: str) -> str:
    """A text whose spaces and line ends do not matter."""
    return " ".join(text.split())


def line(generator: str, level: int, size: int, seed: int) -> dict[str, Any]:
    """A line of a task file; generators that the catalogue does not know have no rungs."""
    entry = entry_of(generator)
    config = dict(entry.levels[level - 1].config) if entry is not None else {}
    return {"reasoning_gym": generator, "size": size, "seed": seed, "config": config}


async def unseen_lines(
    folder: RunFolder, seen: Sequence[dict[str, Any]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Datasets that no history holds, and of which some seed solves enough in the pilot."""
    asked = {each["reasoning_gym"] for each in seen}
    pilot = []
    for generator in options.candidates:
        drawn = line(generator, 1, PILOT_SIZE, PILOT_SEED)
        test = {**drawn, "size": options.each * SPARE, "seed": TEST_SEED}
        if generator not in asked and can_be_drawn([drawn, test], options.folder):
            pilot.append(drawn)
    tasks = read_tasks([task_file(options.folder, "pilot", pilot)])
    best = await best_seed_shares(folder, tasks, options.folder / "pilot")
    lines = []
    for drawn in pilot:
        if best[drawn["reasoning_gym"]] >= ENOUGH:
            lines.append({**drawn, "size": options.each, "seed": TEST_SEED})
    return lines


def can_be_drawn(drawn: list[dict[str, Any]], folder: Path) -> bool:
    """Whether reasoning-gym makes such tasks here; some need more than is installed."""
    try:
        read_tasks([task_file(folder, "probe", drawn)])
    except (TaskFileError, ImportError, OSError) as error:
        print(f"{drawn[0]['reasoning_gym']} is left out: {error}", file=sys.stderr)
        return False
    return True


async def best_seed_shares(folder: RunFolder, tasks: list[Task], place: Path) -> dict[str, float]:
    """Generator -> the largest share of its tasks that a seed solves."""
    async with open_context(folder, folder.config(), told) as context:
        seeds = [expert.id for expert in context.store.experts(0) if expert.is_seed]
        field = contenders(context, {name: context.store.skills(name) for name in seeds})
        lines = [Line(each.name, (Voice(each),)) for each in field]
        with RunStore.open(place) as book:
            bench = Bench(context, book, tasks, context.judge.max_tokens)
            await bench.answer_all(lines)
    best: dict[str, float] = {}
    for each in lines:
        sheet = bench.sheet(each.voices[0])
        for generator in {task.cluster for task in tasks}:
            passed = [bool(sheet[t.id].passed) for t in tasks if t.cluster == generator]
            best[generator] = max(best.get(generator, 0.0), sum(passed) / len(passed))
    return best


def task_file(folder: Path, name: str, lines: Sequence[dict[str, Any]]) -> Path:
    """A task file for `acdc evaluate`, kept beside the runs."""
    file = folder / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


WANTED = [
    ("best_expert", "best_seed", 1),
    ("force", "experts", 3),
    ("force", "random_genomes", 3),
    ("force", "control", 8),
    ("force", "experts", 8),
    ("force", "random_genomes", 8),
]


def goals(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each comparison of Coverage, and how much of the gap best-of-N recovers at N = 3."""
    listed = []
    for ours, theirs, n in WANTED:
        for difference in found["differences"]:
            place = (difference["ours"], difference["theirs"], difference["n"])
            if place == (ours, theirs, n) and difference["measure"] == "coverage":
                listed.append(
                    {
                        "name": f"{name}: {ours} - {theirs} at N = {n}",
                        "value": difference["value"],
                        "interval": difference["ci"],
                        "by_run": difference["by_run"],
                        "unit": "Coverage",
                        "goal": "> 0, interval excludes zero",
                        "met": difference["ci"][0] > 0,
                    }
                )
    rows = {(row["name"], row["n"]): row for row in found["rows"]}
    force, best = rows.get(("force", 3)), rows.get(("best_expert", 1))
    if force is not None and best is not None:
        gap = force["coverage"] - best["coverage"]
        for method, of in force["best_of_n"].items():
            share = (of["accuracy"] - best["coverage"]) / gap if gap > 0 else 0.0
            listed.append(
                {
                    "name": f"{name}: {method} at N = 3, of the gap up to Coverage",
                    "value": round(share, 3),
                    "unit": "share",
                    "goal": ">= 0.5",
                    "met": share >= 0.5,
                }
            )
    if name == "unseen":
        count = found["generators"]
        listed.append(
            {
                "name": "unseen: generators",
                "value": count,
                "unit": "generators",
                "goal": f">= {FEWEST_UNSEEN}",
                "met": count >= FEWEST_UNSEEN,
            }
        )
    return listed


def tables(found: dict[str, Any]) -> list[str]:
    """Markdown: rows over all runs, every run seed by itself, and the goals."""
    said = [
        f"Run seeds {', '.join(map(str, found['run_seeds']))}; {found['machine']['processor']}, "
        f"{found['machine']['cores']} cores."
    ]
    for name, (tasks, generators) in found["tasks"].items():
        rows = [row for row in found["rows"] if row["set"] == name]
        runs = found["runs"][name]
        heads = " | ".join(f"seed {run['seed']}" for run in runs)
        said += [
            "",
            f"**{name}**: {tasks} fresh tasks of {generators} generators. Coverage over all runs "
            "with its 95 % interval over generators and runs, and of every run.",
            "",
            f"| who answers | N | all | {heads} | sampling | tokens |",
            "|---" * (5 + len(runs)) + "|",
        ]
        for row in rows:
            of_runs = [
                next(r for r in run["rows"] if (r["name"], r["n"]) == (row["name"], row["n"]))
                for run in runs
            ]
            single = " | ".join(f"{each['coverage']:.3f}" for each in of_runs)
            low, high = row["coverage_ci"]
            said.append(
                f"| {row['name']} | {row['n']} | {row['coverage']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {single} | {row['sampling']} | {row['tokens']} |"
            )
        said += chosen_table(
            [row for row in rows if row["name"] == "force" and row["n"] > 1],
            [each for each in found["differences"] if each["set"] == name],
        )
    said += ["", "| goal | value | 95 % interval | by run | met |", "|---" * 5 + "|"]
    for goal in found["goals"]:
        by_run = " ".join(f"{value:+.3f}" for value in goal.get("by_run", ()))
        met = "yes" if goal["met"] else "no"
        said.append(
            f"| {goal['name']} ({goal['goal']}) | {goal['value']} | {ends(goal.get('interval'))} "
            f"| {by_run} | {met} |"
        )
    return said


def chosen_table(
    forces: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]
) -> list[str]:
    """Best-of-N of the force by every method, and what it adds to its best single expert."""
    against = {
        (each["measure"], each["n"]): each
        for each in differences
        if (each["ours"], each["theirs"]) == ("force", "best_expert")
    }
    said = [
        "",
        "The force's best of N by each method that needs no judge, and the difference to "
        "best_expert at N = 1. No method was picked by these tasks; who picks one by this table "
        "does.",
        "",
        "| N | method | accuracy | against best_expert | by run |",
        "|---" * 5 + "|",
    ]
    for row in forces:
        for method, of in row["best_of_n"].items():
            low, high = of["ci"]
            gain = against[method, row["n"]]
            by_run = " ".join(f"{value:+.3f}" for value in gain["by_run"])
            said.append(
                f"| {row['n']} | {method} | {of['accuracy']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {gain['value']:+.3f} {ends(gain['ci'])} | {by_run} |"
            )
    return said


def ends(interval: Sequence[float] | None) -> str:
    """The ends of an interval of a difference; nothing of none."""
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""


def write(found: dict[str, Any]) -> None:
    """Replace the section between the marks."""
    text = RESULTS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(tables(found))
    RESULTS.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
