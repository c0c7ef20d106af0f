"""Fresh tasks for the headline comparison: near what runs asked, of its categories, and far."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.errors import TaskFileError
from agents.evaluation.bench import Bench
from agents.evaluation.contenders import Line, Seat, contenders
from agents.evaluation.tasks import GymDataset, Task, read_tasks
from agents.evaluation.transfer import Known, subjects_of
from agents.offline.catalogue import entry_of
from agents.progress import ProgressEvent
from console.run.folder import RunFolder
from console.run.reading import open_reading, open_scoring
from memory.records import Family
from memory.store import RunStore

PILOT_SIZE, PILOT_SEED, TEST_SEED, PICK_SEED = 12, 90_001, 70_001, 50_001
"""Instances of a generator in the pilot; seeds of its instances, of those of the test, and of those
by which a method of best-of-N is picked."""
APART, SPARE = 1_000, 10
"""Between the seeds of two rungs: reasoning-gym adds seed and index, so near seeds share instances.
How many instances are drawn for each that is wanted."""
ENOUGH = 0.05
"""Share of the pilot that some seed has to solve."""
LONGEST = 1_000
"""Characters of a question: a few generators ask pages, and would take most of the time."""


def show_event(event: ProgressEvent) -> None:
    if event.kind != "step":
        print(event.text, file=sys.stderr, flush=True)


def seen_lines(
    folders: Sequence[RunFolder], each: int, seed: int = TEST_SEED
) -> list[dict[str, Any]]:
    """Datasets of the generators in the histories, split evenly among the rungs that were asked."""
    rungs: dict[str, set[int]] = {}
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            for family in store.families():
                # A closed family of the offline scientist has its level as difficulty.
                level = family.level if family.generative else family.difficulty
                for generator in filter(None, family.generator.split(", ")):
                    rungs.setdefault(generator, set()).add(level)
    lines = []
    for generator, levels in sorted(rungs.items()):
        for place, level in enumerate(sorted(levels)):
            size = each // len(levels) + (place < each % len(levels))
            if size:
                lines.append(line(generator, level, size, seed + level * APART))
    return lines


def apart(
    folders: Sequence[RunFolder], lines: Sequence[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Unseen datasets by whether some run's history has their category or field."""
    families: list[Family] = []
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            families += store.families()
    subjects = Known.of(families).subjects
    found: dict[str, list[dict[str, Any]]] = {"same category": [], "far": []}
    for each in lines:
        known = subjects_of(each["reasoning_gym"]) & subjects
        found["same category" if known else "far"].append(each)
    return found


def asked_texts(folders: Sequence[RunFolder], files: Sequence[Path], kept: Path) -> str:
    """Everything that runs and some files of tasks have asked, examples in it too, in one text."""
    there = [file for file in files if file.exists()]
    texts = [task.instructions for task in read_tasks(there, kept)] if there else []
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            for family in store.families():
                texts += family.instructions.values()
            texts += [instance.instructions for instance in store.instances()]
            for assignment in store.assignments():
                for draft in store.drafts(assignment.id):
                    texts += [answer.question for answer in draft.answers]
                    texts += draft.gates.instructions.values() if draft.gates else ()
    return "\n".join(map(plain, texts))


def fresh_tasks(lines: Sequence[dict[str, Any]], known: str, kept_in: Path) -> list[Task]:
    """Tasks of datasets that are not known word for word, none of them twice.

    Small datasets run dry; those have fewer tasks.
    """
    kept: dict[str, Task] = {}
    for each in lines:
        left = each["size"]
        drawn = json.dumps({**each, "size": left * SPARE})
        for task in GymDataset.model_validate_json(drawn).tasks(kept_in):
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
    """Datasets that no history holds, whose questions are short, and which some seed manages."""
    asked = {each["reasoning_gym"] for each in seen}
    pilot = []
    for generator in options.candidates:
        drawn = line(generator, 1, PILOT_SIZE, PILOT_SEED)
        test = {**drawn, "size": options.each * SPARE, "seed": TEST_SEED}
        if generator not in asked and can_be_drawn([drawn, test], options.folder):
            pilot.append(drawn)
    tasks = read_tasks([task_file(options.folder, "pilot", pilot)], drawn_in(options.folder))
    long = {task.cluster for task in tasks if len(task.instructions) > LONGEST}
    pilot = [drawn for drawn in pilot if drawn["reasoning_gym"] not in long]
    tasks = [task for task in tasks if task.cluster not in long]
    best = await best_seed_shares(folder, tasks, options.folder / "pilot")
    lines = []
    for drawn in pilot:
        if best[drawn["reasoning_gym"]] >= ENOUGH:
            lines.append({**drawn, "size": options.each, "seed": TEST_SEED})
    return lines


def can_be_drawn(drawn: list[dict[str, Any]], folder: Path) -> bool:
    """Whether reasoning-gym makes such tasks here; some need more than is installed."""
    try:
        read_tasks([task_file(folder, "probe", drawn)], drawn_in(folder))
    except (TaskFileError, ImportError, OSError) as error:
        print(f"{drawn[0]['reasoning_gym']} is left out: {error}", file=sys.stderr)
        return False
    return True


async def best_seed_shares(folder: RunFolder, tasks: list[Task], place: Path) -> dict[str, float]:
    """Generator -> the largest share of its tasks that a seed solves."""
    async with (
        open_reading(folder, folder.config(), show_event) as context,
        open_scoring(context) as sandbox,
    ):
        seeds = [expert.id for expert in context.store.experts(0) if expert.is_seed]
        field = contenders(context, seeds)
        lines = [Line(each.name, (Seat(each),)) for each in field]
        with RunStore.open(place) as book:
            bench = Bench(context, book, sandbox, tasks, context.config.judge.max_tokens)
            await bench.answer_all(lines)
    best: dict[str, float] = {}
    for each in lines:
        sheet = bench.sheet(each.seats[0])
        for generator in {task.cluster for task in tasks}:
            passed = [bool(sheet[t.id].passed) for t in tasks if t.cluster == generator]
            best[generator] = max(best.get(generator, 0.0), sum(passed) / len(passed))
    return best


def drawn_in(folder: Path) -> Path:
    """Where datasets are kept that another process would draw otherwise."""
    return folder / "drawn"


def task_file(folder: Path, name: str, lines: Sequence[dict[str, Any]]) -> Path:
    """A task file for `acdc evaluate`, kept beside the runs."""
    file = folder / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file
