"""From two parents to a child's first answer: three ways, side by side; and writing a child out.

    python -m benchmarks.breed [--families smollm2-135m qwen2-0.5b] [--repeats 3] [--quick] [--json]

    ours        bank and model are in memory: breed, materialise, answer
    mergekit    merge to disk, load, answer
    published   load base and parents, merge state dicts, full SVD of each matrix, save, load,
                answer

All answer the same question with the same number of tokens, with transformers' own loop on as many
threads; the run fails if they do not. Bytes are those that the process wrote. Ways take turns, and
each is run once beforehand, but the published one, whose minutes are measured once. Then `acdc
export`'s function writes the average of the parents beside mergekit, see `benchmarks.writing`: to
load the bank, once per run and not per expert, is shown in a column of its own. Progress goes to
stderr; both families take minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from transformers.utils import logging

from benchmarks.machine import describe_machine
from benchmarks.parents import FamilyOnDisk, built_in_parents, random_parents
from benchmarks.reporting import goal_lines, show_progress
from benchmarks.ways import Course, Way, mergekit_way, ours, published_way
from benchmarks.writing import writings
from console.run.config import cache_folder
from evolution.bank.bank import load_bank
from evolution.bank.settings import SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.engines.transformers.attention import use_plain_head

PLAIN = BreedingSettings(crossovers={"linear": 1.0}, mutations={})
MUTATED = BreedingSettings(crossovers={"linear": 1.0})
FAMILIES = ["smollm2-135m", "qwen2-0.5b"]

Rows = list[dict[str, Any]]


@dataclass
class Measured:
    """All courses of one way, and the bytes that each wrote."""

    courses: list[Course]
    written: list[int]

    def row(self, family: str, way: str) -> dict[str, Any]:
        """Medians over the repeats."""
        seconds = [sum(course.phases.values()) for course in self.courses]
        return {
            "family": family,
            "way": way,
            "seconds": round(float(np.median(seconds)), 3),
            "bytes_written": int(np.median(self.written)),
            "repeats": len(seconds),
            "prompt_tokens": self.courses[0].prompt_tokens,
            "new_tokens": self.courses[0].new_tokens,
            "phases": {
                name: round(float(np.median([c.phases[name] for c in self.courses])), 4)
                for name in self.courses[0].phases
            },
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--repeats", type=int, default=3, help="of all but the published way")
    parser.add_argument("--tokens", type=int, default=8, help="of an answer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a tiny random family only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    report = measure(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows: Rows = []
    goals: Rows = []
    for name in ["tiny"] if options.quick else options.families:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            show_progress(f"{name}: making base and parents")
            found = of_family(make(name, place), place, options)
            rows += found
            goals += goals_of(name, found)
    machine = {**describe_machine(), "threads": options.threads}
    return {"bench": "breed", "machine": machine, "rows": rows, "goals": goals}


def make(name: str, place: Path) -> FamilyOnDisk:
    if name == "smollm2-135m":
        return built_in_parents(place, cache_folder())
    return random_parents(name, place)


def of_family(family: FamilyOnDisk, place: Path, options: argparse.Namespace) -> Rows:
    # What is computed once per base is found again; random families leave nothing behind.
    cache = cache_folder() if family.name == "smollm2-135m" else place / "cache"
    show_progress(f"{family.name}: loading the bank")
    load_bank(family.settings, SpectralSettings(), cache)
    begun = time.perf_counter()
    bank = load_bank(family.settings, SpectralSettings(), cache)
    loading = round(time.perf_counter() - begun, 2)
    model = bank.model()
    use_plain_head(model)  # as the engine does; a freshly loaded model needs it not
    parents = [path.name for path in family.parents]
    tokens, repeats = options.tokens, options.repeats
    ways: dict[str, tuple[Way, int]] = {
        "ours": (ours(bank, model, parents, PLAIN, tokens), repeats),
        "ours, mutated": (ours(bank, model, parents, MUTATED, tokens), repeats),
        "mergekit": (mergekit_way(family, tokens), repeats),
        "published, mutated": (published_way(family, tokens), 1),
    }
    for name, (way, _) in ways.items():
        if name != "published, mutated":
            timed(way, place, Measured([], []))
    found = {name: Measured([], []) for name in ways}
    # In turn, since a machine that slows down would slow down whoever comes last.
    for number in range(repeats):
        for name, (way, count) in ways.items():
            if number < count:
                timed(way, place, found[name])
                show_progress(
                    f"{family.name}: {name}: {sum(found[name].courses[-1].phases.values()):.2f} s"
                )
    rows = [each.row(family.name, name) for name, each in found.items()]
    check_alike(rows, options.threads)
    for row in rows[:2]:
        row["bank_loaded_once_in_seconds"] = loading
    seconds, memory = writings(family, bank, place, repeats)
    seconds[0]["with_loading_the_bank"] = round(loading + seconds[0]["seconds"], 2)
    return [*rows, *seconds, *memory]


def check_alike(rows: Sequence[dict[str, Any]], threads: int) -> None:
    """That no way was asked another question, or had other threads.

    Raises:
        RuntimeError: what differs.
    """
    asked = {row["way"]: (row["prompt_tokens"], row["new_tokens"]) for row in rows}
    if len(set(asked.values())) > 1:
        raise RuntimeError(f"(prompt, new) tokens are not the same for all ways: {asked}")
    if torch.get_num_threads() != threads:
        raise RuntimeError(f"{threads} threads were set, {torch.get_num_threads()} are left")


def timed(way: Way, place: Path, found: Measured) -> None:
    """Add one course."""
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        before = psutil.Process().io_counters().write_chars
        found.courses.append(way(Path(scratch) / "out"))
        found.written.append(psutil.Process().io_counters().write_chars - before)


def goals_of(family: str, rows: Rows) -> Rows:
    of = {row["way"]: row for row in rows if "way" in row}
    writer = {row["writer"]: row["seconds"] for row in rows if "writer" in row and "seconds" in row}
    plain, mutant = of["ours"], of["ours, mutated"]
    faster = of["mergekit"]["seconds"] / plain["seconds"]
    beyond = of["published, mutated"]["seconds"] / mutant["seconds"]
    written = max(plain["bytes_written"], mutant["bytes_written"])
    export = writer.pop("export")
    writing = min(writer.values()) / export
    memory = max(
        row["peak_bytes"] / row["largest_shard"]
        for row in rows
        if row.get("writer") == "export" and "peak_bytes" in row
    )
    return [
        goal(f"{family}: faster than mergekit and loading", faster, "x", 10, faster >= 10),
        goal(f"{family}: faster than the published way", beyond, "x", 20, beyond >= 20),
        goal(f"{family}: written for an answer", written, "bytes", 0, written == 0),
        goal(f"{family}: export against mergekit's faster merge", writing, "x", 1, writing >= 1),
        goal(f"{family}: peak memory of export", memory, "shards", 1.2, memory <= 1.2),
    ]


def goal(name: str, value: float, unit: str, wanted: float, met: bool) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "goal": wanted, "met": met}


def table(report: dict[str, Any]) -> str:
    lines = [f"{'family':<14}{'way':<22}{'seconds':>10}{'written MB':>12}  phases"]
    for row in (row for row in report["rows"] if "way" in row):
        phases = ", ".join(f"{name} {seconds:.3f}" for name, seconds in row["phases"].items())
        lines.append(
            f"{row['family']:<14}{row['way']:<22}{row['seconds']:10.3f}"
            f"{row['bytes_written'] / 1e6:12.1f}  {phases}"
        )
    lines.append(
        f"{'family':<14}{'writer':<22}{'seconds':>10}{'files':>6}{'peak MB':>9}{'of shard':>9}"
    )
    for row in (row for row in report["rows"] if "writer" in row):
        if "seconds" in row:
            more = row.get("with_loading_the_bank")
            figures = f"{row['seconds']:10.3f}" + (f"  ({more} with its bank)" if more else "")
        else:
            share = row["peak_bytes"] / row["largest_shard"]
            figures = f"{'':>10}{row['files']:6}{row['peak_bytes'] / 1e6:9.1f}{share:9.2f}"
        lines.append(f"{row['family']:<14}{row['writer']:<22}{figures}")
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
