"""Writing the same merge to disk: our export, and mergekit; seconds, and peak memory apart from it.

Memory is anonymous resident memory (RssAnon) above what the process held just before, with the bank
open, garbage collected and free pages given back: buffers and copies count, mapped input files and
the system's file cache do not. It is looked at every 2 ms in runs that are not timed.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import safe_open

from benchmarks.parents import FamilyOnDisk
from benchmarks.reporting import show_progress
from benchmarks.ways import average, run_mergekit
from evolution.bank.bank import Bank
from evolution.exporting import About, Sources, export_expert, mergekit_recipe
from evolution.genome.genome import Genome
from memory.records import Expert

Writer = Callable[[Path, int], object]
"""Writes the merge into a new folder, in files of at most so many bytes of weights."""

WHOLE = 5_000_000_000
_LOOK = 0.002
_APART = 2.0**-9
"""What two ways to round the same merge may differ by, in bf16, relative to a tensor's norm: a
parent alone is further away."""


def writings(
    family: FamilyOnDisk, bank: Bank, place: Path, repeats: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of seconds, and rows of peak memory in one file and in about four."""
    ways = writers(family, bank)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        whole = {name: Path(scratch) / str(n) for n, name in enumerate(ways)}
        for name, way in ways.items():
            way(whole[name], WHOLE)  # to warm up
        weights = check_same(list(whole.values()))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                begun = time.perf_counter()
                way(Path(scratch) / "out", WHOLE)
                seconds[name].append(time.perf_counter() - begun)
    rows = [
        {"family": family.name, "writer": name, "seconds": round(float(np.median(took)), 3)}
        for name, took in seconds.items()
    ]
    for row in rows:
        show_progress(f"{family.name}: {row['writer']}: {row['seconds']} s")
    quarter = weights // 4 + 1
    return rows, [
        {"family": family.name, "writer": name, **peak(way, place, limit)}
        for name, way in ways.items()
        for limit in (WHOLE, quarter)
    ]


def writers(family: FamilyOnDisk, bank: Bank) -> dict[str, Writer]:
    """The average of both parents: by `acdc export`'s function, and twice by mergekit."""
    first, second = (bank.seed_genome(path.name) for path in family.parents)
    genome = Genome((first.coefficients + second.coefficients) / 2)
    sources = Sources(str(family.base), {path.name: str(path) for path in family.parents})
    expert = Expert(
        id="average", genome_id=bank.genome_id(genome), generation=0, birth=0, operator="linear"
    )
    recipe, obstacle = mergekit_recipe(bank, genome, sources)
    if recipe is None:
        raise RuntimeError(f"mergekit cannot make the same merge: {obstacle}")
    same = yaml.safe_load(recipe)

    def export(out: Path, limit: int) -> None:
        about = About(expert, "benchmark")
        export_expert(bank, genome, about, sources, out, shard_bytes=limit)

    return {
        "export": export,
        "mergekit": lambda out, limit: run_mergekit(average(family), out, limit),
        "mergekit, its recipe": lambda out, limit: run_mergekit(same, out, limit),
    }


def check_same(folders: list[Path]) -> int:
    """That all wrote the same merge but for rounding; gives the bytes of weights.

    Raises:
        RuntimeError: names the tensor that differs.
    """
    opened: list[Any] = [
        safe_open(folder / "model.safetensors", framework="pt") for folder in folders
    ]
    total = 0
    names = [set(file.keys()) - {"lm_head.weight"} for file in opened]
    for name in sorted(set.union(*names)):
        if any(name not in held for held in names):
            raise RuntimeError(f"{name} was not written by all")
        ours, *theirs = (file.get_tensor(name) for file in opened)
        total += ours.nbytes
        allowed = _APART * float(ours.float().norm())
        if any(float((ours.float() - their.float()).norm()) > allowed for their in theirs):
            raise RuntimeError(f"{name} is not the same merge")
    return total


def peak(way: Writer, place: Path, limit: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        out = Path(scratch) / "out"
        with watched() as most:
            way(out, limit)
        shards = [file.stat().st_size for file in out.glob("*.safetensors")]
    return {"files": len(shards), "peak_bytes": most[0], "largest_shard": max(shards)}


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most anonymous memory beyond what was held before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before, most, over = anonymous(), [0], threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            most[0] = max(most[0], anonymous() - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this kernel does not report anonymous memory")
