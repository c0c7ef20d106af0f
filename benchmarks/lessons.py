"""What the lessons of runs gave: taught experts beside those that learnt, as the judge graded both.

    python -m benchmarks.lessons RUN [RUN ...] [--json]

Compared are the counts of the first period from the lesson on in which both were judged, or else of
the one in which the lesson fell: instances that no lesson saw, the same ones for all who compete,
greedily answered. In the second case the families were also chosen by what the parent passed of
these instances, so that it would pass a little more of others. Lessons of which the two were never
judged together are left out. Three sets of families: those that the lesson was about, of these the
ones of which the parent passed nothing, and all others, where something may be forgotten. Intervals
are bootstraps over lessons.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.lessons.record import lessons_of
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, run_as_command
from evolution.tutoring.settings import TUTOR
from memory.records import Expert, Skill
from memory.store import RunStore

SETS = ("taught", "taught, parent 0", "others")
SHARE = 1 / 3
"""Of the fresh instances of a family that nobody solves, what a lesson is to give."""
DRAWS = 4000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of runs with lessons")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lessons = [each for folder in options.folders for each in lessons_in(folder)]
    if not lessons:
        raise SystemExit("none of these runs has a lesson whose expert was judged with its parent")
    report = measure(lessons)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def lessons_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Counts of passes before and after each lesson: set -> [before, after, asked]."""
    with RunStore.open(folder, read_only=True) as store:
        about = {lesson.generation: set(lesson.tutors) for lesson in lessons_of(store)}
        for expert in store.experts():
            if expert.operator != TUTOR or expert.generation not in about:
                continue
            [parent] = expert.parents
            before, after = _judged_together(store, parent, expert)
            counts = {name: np.zeros(3, int) for name in SETS}
            for family in before.keys() & after.keys():
                had, has = before[family], after[family]
                if had.asked != has.asked:
                    continue
                row = (had.passes, has.passes, has.asked)
                taught = family in about[expert.generation]
                counts["taught" if taught else "others"] += row
                if taught and not had.passes:
                    counts["taught, parent 0"] += row
            if counts["taught"][2]:
                yield {"run": folder.name, "lesson": expert.id, "parent": parent} | {
                    name: count.tolist() for name, count in counts.items()
                }


def _judged_together(
    store: RunStore, parent: str, child: Expert
) -> tuple[dict[str, Skill], dict[str, Skill]]:
    latest = (store.latest_archive() or (0, []))[0]
    born = child.generation
    for period in (*range(born, latest + 1), *range(born - 1, -1, -1)):
        before, after = (store.skill_counts(each, period) for each in (parent, child.id))
        if before.keys() & after.keys():
            return before, after
    return {}, {}


def measure(lessons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(lessons), size=(DRAWS, len(lessons)))
    sums: dict[str, Any] = {}
    for name in SETS:
        counts = np.array([lesson[name] for lesson in lessons], float)
        had, has, asked = counts.sum(axis=0)
        if not asked:
            continue
        totals = counts[drawn].sum(axis=1)
        gains = (totals[:, 1] - totals[:, 0]) / np.maximum(totals[:, 2], 1)
        low, high = np.quantile(gains, (0.025, 0.975))
        sums[name] = {
            "instances": int(asked),
            "before": round(had / asked, 3),
            "after": round(has / asked, 3),
            "met": bool(has >= SHARE * asked),
            "gain": [round(each, 3) for each in ((has - had) / asked, low, high)],
        }
    return {
        "bench": "lessons",
        "machine": describe_machine(),
        "lessons": len(lessons),
        "rows": list(lessons),
        "sets": sums,
        "goals": [
            {
                "name": "fresh instances that are right after a lesson, where none was",
                "value": found["after"],
                "unit": "of 1",
                "goal": f">= {SHARE:.2f}",
                "met": found["met"],
            }
            for name, found in sums.items()
            if name == "taught, parent 0"
        ],
    }


def table(report: dict[str, Any]) -> str:
    lines = [heading(report), "", "| run | lesson | learnt from | " + " | ".join(SETS) + " |"]
    lines.append("|---" * (3 + len(SETS)) + "|")
    for row in report["rows"]:
        cells = [f"{had} to {has} of {asked}" for had, has, asked in (row[name] for name in SETS)]
        lines.append(f"| {' | '.join([row['run'], row['lesson'], row['parent'], *cells])} |")
    lines += ["", "| families | instances | before | after | change |", "|---|---|---|---|---|"]
    for name, of in report["sets"].items():
        gain, low, high = of["gain"]
        change = f"{gain:+.3f} [{low:.3f}, {high:.3f}]"
        lines.append(f"| {name} | {of['instances']} | {of['before']} | {of['after']} | {change} |")
    return "\n".join([*lines, "", *goal_lines(report)])


if __name__ == "__main__":
    run_as_command(main)
