"""From two parents to a child's first answer: three ways, side by side; and writing a child out.

    python -m benchmarks.breed [--families smollm2-135m qwen2-0.5b] [--repeats 3] [--quick] [--json]

    ours        bank and model are in memory: breed, materialise, answer
    mergekit    merge to disk, load, answer
    published   load base and parents, merge state dicts, full SVD of each matrix, save, load,
                answer

All answer through the same transformers model. Bytes are those that the process wrote. Export is
`acdc export`'s writer beside mergekit's on the same merge; memory is anonymous memory beyond what
was held before, so that mapped input files do not count.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.machine import describe_machine
from benchmarks.parents import (
    FamilyOnDisk,
    built_in_parents,
    random_parents,
)
from benchmarks.reporting import goal_lines
from console.assembly import cache_folder
from evolution.bank import Bank, load_bank
from evolution.breeding import breed
from evolution.exporting import write_checkpoint
from evolution.genome import Genome
from evolution.materialise import materialise
from evolution.settings import BreedingSettings, SpectralSettings

QUESTION = [{"role": "user", "content": "What is 7 times 8?"}]
KEEP_RANK, DEVIATION = 256, 0.25
PLAIN = BreedingSettings(crossovers={"linear": 1.0}, mutations={})
MUTATED = BreedingSettings(crossovers={"linear": 1.0})


@dataclass
class Measured:
    """Medians over the repeats."""

    seconds: float
    bytes_written: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--families",
        nargs="+",
        default=["smollm2-135m", "qwen2-0.5b"],
        choices=["smollm2-135m", "qwen2-0.5b"],
    )
    parser.add_argument("--repeats", type=int, default=3, help="of all but the published way")
    parser.add_argument("--tokens", type=int, default=8, help="of an answer")
    parser.add_argument("--quick", action="store_true", help="a tiny random family only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    report = measure(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name in ["tiny"] if options.quick else options.families:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            family = make(name, place)
            rows += of_family(family, place, options)
    return {
        "bench": "breed",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            goal for name in dict.fromkeys(r["family"] for r in rows) for goal in goals(name, rows)
        ],
    }


def make(name: str, place: Path) -> FamilyOnDisk:
    if name == "smollm2-135m":
        return built_in_parents(place, cache_folder())
    return random_parents(name, place)


def of_family(
    family: FamilyOnDisk, place: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    begun = time.perf_counter()
    # What is computed once per base is found again; random families leave nothing behind.
    cache = cache_folder() if family.name == "smollm2-135m" else place / "cache"
    bank = load_bank(family.settings, SpectralSettings(), cache)
    model = bank.model()
    loading = time.perf_counter() - begun
    parents = [bank.seed_genome(path.name) for path in family.parents]
    tokens = options.tokens

    def ours(settings: BreedingSettings) -> Callable[[Path], None]:
        def run(_: Path) -> None:
            materialise(bank, breed(bank, parents, 0, settings).genome, model)
            answer(model, bank.tokenizer, tokens)

        return run

    ours(MUTATED)(place)
    ways: list[tuple[str, Callable[[Path], None], int]] = [
        ("ours", ours(PLAIN), options.repeats),
        ("ours, mutated", ours(MUTATED), options.repeats),
        ("mergekit", lambda out: by_mergekit(family, out, tokens), options.repeats),
        ("published, mutated", lambda out: as_published(family, out, tokens), 1),
    ]
    rows = []
    for name, way, repeats in ways:
        found = timed(way, place, repeats)
        rows.append(
            {
                "family": family.name,
                "way": name,
                "seconds": round(found.seconds, 3),
                "bytes_written": found.bytes_written,
            }
        )
    rows[0]["loaded_once_in_seconds"] = round(loading, 1)
    return rows + exports(family, bank, place, options.repeats)


def answer(model: Any, tokenizer: Any, tokens: int) -> str:
    prompt = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    reply = model.generate(**prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(reply[0]))


def load_and_answer(folder: Path, tokens: int) -> str:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return answer(model, AutoTokenizer.from_pretrained(folder), tokens)


def by_mergekit(family: FamilyOnDisk, out: Path, tokens: int) -> None:
    run_mergekit(family, out)
    load_and_answer(out, tokens)


def run_mergekit(family: FamilyOnDisk, out: Path) -> None:
    """The average of both parents, as mergekit writes it by default."""
    plan = {
        "merge_method": "linear",
        "dtype": "bfloat16",
        "parameters": {"weight": 0.5},
        "models": [{"model": str(path)} for path in family.parents],
    }
    options = MergeOptions(quiet=True, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(plan), str(out), options)


def as_published(family: FamilyOnDisk, out: Path, tokens: int) -> None:
    """Linear merge of task vectors in bf16, and noise on singular values, matrix by matrix."""
    base, first, second = (
        AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        for path in (family.base, *family.parents)
    )
    origin, one, other = (each.state_dict() for each in (base, first, second))
    merged = {
        name: tensor + 0.5 * (one[name] - tensor) + 0.5 * (other[name] - tensor)
        for name, tensor in origin.items()
    }
    # A tied head is one matrix here; the published code decomposes it twice.
    done: dict[int, Tensor] = {}
    for name, tensor in merged.items():
        if tensor.ndim == 2 and "norm" not in name:
            key = origin[name].data_ptr()
            done.setdefault(key, mutated(tensor) if key not in done else done[key])
            merged[name] = done[key]
    base.load_state_dict(merged)
    base.save_pretrained(out)
    AutoTokenizer.from_pretrained(family.base).save_pretrained(out)
    load_and_answer(out, tokens)


def mutated(matrix: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    rank = min(KEEP_RANK, len(values))
    values[:rank] += DEVIATION * torch.randn(rank)
    noisy: Tensor = (left * values.clamp_min(0.0)) @ right
    return noisy.to(matrix.dtype)


def timed(way: Callable[[Path], None], place: Path, repeats: int) -> Measured:
    seconds, written = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            before = psutil.Process().io_counters().write_chars
            begun = time.perf_counter()
            way(Path(scratch) / "out")
            seconds.append(time.perf_counter() - begun)
            written.append(psutil.Process().io_counters().write_chars - before)
    return Measured(float(np.median(seconds)), int(np.median(written)))


def exports(family: FamilyOnDisk, bank: Bank, place: Path, repeats: int) -> list[dict[str, Any]]:
    """Writing the same merge: our writer, and mergekit."""
    first, second = (bank.seed_genome(path.name) for path in family.parents)
    genome = Genome((first.coefficients + second.coefficients) / 2)

    def ours(out: Path) -> None:
        out.mkdir()
        write_checkpoint(bank, genome, out)
        bank.tokenizer.save_pretrained(out)

    rows = []
    for name, way in (("export", ours), ("mergekit writes", lambda out: run_mergekit(family, out))):
        seconds, peaks, shard = [], [], 0
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                out = Path(scratch) / "out"
                with watched() as peak:
                    begun = time.perf_counter()
                    way(out)
                    seconds.append(time.perf_counter() - begun)
                peaks.append(peak[0])
                shard = max(file.stat().st_size for file in out.glob("*.safetensors"))
        rows.append(
            {
                "family": family.name,
                "way": name,
                "seconds": round(float(np.median(seconds)), 3),
                "bytes_written": shard,
                "peak_bytes": max(peaks),
                "largest_shard": shard,
            }
        )
    return rows


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most anonymous memory beyond what was held before, looked at every millisecond."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before, peak, over = anonymous(), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.001):
            peak[0] = max(peak[0], anonymous() - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this kernel does not tell anonymous memory")


def goals(family: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    of = {row["way"]: row for row in rows if row["family"] == family}
    ours, mutant, export = of["ours"], of["ours, mutated"], of["export"]
    faster = of["mergekit"]["seconds"] / ours["seconds"]
    beyond = of["published, mutated"]["seconds"] / mutant["seconds"]
    writing = of["mergekit writes"]["seconds"] / export["seconds"]
    memory = export["peak_bytes"] / export["largest_shard"]
    written = max(ours["bytes_written"], mutant["bytes_written"])
    return [
        goal(f"{family}: faster than mergekit and loading", faster, "x", 10, faster >= 10),
        goal(f"{family}: faster than the published way", beyond, "x", 20, beyond >= 20),
        goal(f"{family}: written for an answer", written, "bytes", 0, written == 0),
        goal(f"{family}: export against mergekit writing", writing, "x", 1, writing >= 1),
        goal(f"{family}: peak memory of export", memory, "shards", 1.2, memory <= 1.2),
    ]


def goal(name: str, value: float, unit: str, wanted: float, met: bool) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "goal": wanted, "met": met}


def table(report: dict[str, Any]) -> str:
    lines = [f"{'family':<14}{'way':<20}{'seconds':>10}{'written MB':>12}{'peak MB':>10}"]
    for row in report["rows"]:
        peak = f"{row['peak_bytes'] / 1e6:10.1f}" if "peak_bytes" in row else ""
        lines.append(
            f"{row['family']:<14}{row['way']:<20}{row['seconds']:10.3f}"
            f"{row['bytes_written'] / 1e6:12.1f}{peak}"
        )
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
