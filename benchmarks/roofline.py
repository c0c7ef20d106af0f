"""How near does materialise come to the speed of memory?

    python -m benchmarks.roofline [--shapes smollm2-135m qwen2-0.5b] [--rounds 9] [--quick] [--json]

Random families with three full seeds. The bytes that one pass has to move by the time it takes, as
a share of the copy bandwidth measured in turn with it; the same with a displacement of rank 64 in
every matrix; and the largest amount of memory that was allocated meanwhile. Medians over rounds.

Counted are the base and the differences of all seeds with their residuals, read once, and the
weights, written once, into a model that is in memory already; that a processor reads a cache line
before it writes to it counts nowhere. A copy counts what it reads and what it writes, on as many
threads, from and into memory that has been touched. The *bare loop* is the limit: the compiled sum
over one buffer as long as the model, at a single call, with no residual and no tensor of its own;
its bytes, by its time, as a share of the same copy. What materialise loses against it goes to
residuals, to small tensors and to Python.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.families import random_family
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading
from evolution.bank.bank import Bank
from evolution.bank.task_vectors import Dense
from evolution.breeding.mutation import spectral
from evolution.genome.genome import Genome
from evolution.materialise.fusion import combine
from evolution.materialise.native import Range
from evolution.materialise.weights import checksum, expected_checksum, materialise

SEEDS, RANK = 3, 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shapes", nargs="+", default=["smollm2-135m", "qwen2-0.5b"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a smoke test on a tiny family")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shapes, rounds = (["tiny"], 3) if options.quick else (options.shapes, options.rounds)
    rows = [measure(shape, rounds) for shape in shapes]
    report = {
        "bench": "roofline",
        "machine": describe_machine() | {"threads": torch.get_num_threads()},
        "rows": rows,
        "goals": [goal for row in rows for goal in goals(row)],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(shape: str, rounds: int) -> dict[str, Any]:
    with random_family(shape, SEEDS, RANK) as bank:
        return measure_bank(bank, bank.model(), shape, rounds)


def measure_bank(bank: Bank, model: Any, shape: str, rounds: int) -> dict[str, Any]:
    plain, mutated = genomes(bank)
    weights = list(bank.base.values())
    largest = max(weights, key=lambda tensor: tensor.numel())
    # As many bytes as an expert has, from one place to another: larger than any cache.
    source = torch.zeros(max(2**28, sum(t.nbytes for t in weights)), dtype=torch.uint8)
    target = torch.zeros_like(source)
    bare = bare_loop(sum(tensor.numel() for tensor in weights))
    begun = time.perf_counter()
    materialise(bank, plain, model)
    first = time.perf_counter() - begun
    materialise(bank, mutated, model)
    copies, bares, plains, mutateds = [], [], [], []
    for _ in range(rounds):
        copies.append(seconds(lambda: target.copy_(source)))
        bares.append(seconds(bare))
        plains.append(seconds(lambda: materialise(bank, plain, model)))
        mutateds.append(seconds(lambda: materialise(bank, mutated, model)))
    peak = max(peak_bytes(partial(materialise, bank, genome, model)) for genome in (plain, mutated))
    right = checksum(model) == expected_checksum(bank, mutated)
    bandwidth = 2 * source.nbytes / statistics.median(copies)
    moved = sum(t.nbytes for t in weights) * 2 + sum(dense_bytes(bank))
    return {
        "family": shape,
        "bytes_moved": moved,
        "residual_share": round(residual_share(bank), 5),
        "copy_gb_per_s": round(bandwidth / 1e9, 2),
        "first_seconds": round(first, 2),
        "seconds": round(statistics.median(plains), 4),
        "seconds_rank_64": round(statistics.median(mutateds), 4),
        "bare_loop_share_of_copy": round(
            (SEEDS + 2) * sum(t.nbytes for t in weights) / statistics.median(bares) / bandwidth, 3
        ),
        "share_of_copy": round(moved / statistics.median(plains) / bandwidth, 3),
        "rank_64_ratio": round(statistics.median(mutateds) / statistics.median(plains), 2),
        "peak_bytes": peak,
        "peak_share": round(peak / (4 * largest.numel()), 3),
        "checksum_right": right,
    }


def genomes(bank: Bank) -> tuple[Genome, Genome]:
    """All anchors with different weights, and the same with every matrix displaced."""
    rng = np.random.default_rng(0)
    plain = Genome(rng.uniform(0.2, 0.6, (len(bank.blocks), len(bank.anchors))))
    return plain, spectral(plain, bank.geometry, rng)[0]


def bare_loop(size: int) -> Callable[[], None]:
    """The compiled sum over bf16 buffers of that many weights, warm."""
    out, base, *vectors = (torch.ones(size, dtype=torch.bfloat16) for _ in range(SEEDS + 2))
    return partial(combine, Range(out, base, vectors, [0.25] * SEEDS), True)


def dense_bytes(bank: Bank) -> list[int]:
    held = [v for a in bank.anchors for v in a.vectors.values() if isinstance(v, Dense)]
    tensors: list[Tensor] = [part for v in held for part in (v.values, v.index, v.residual)]
    return [tensor.nbytes for tensor in tensors]


def residual_share(bank: Bank) -> float:
    """Of the weights in full differences, how many need a float32 residual."""
    held = [v for a in bank.anchors for v in a.vectors.values() if isinstance(v, Dense)]
    return sum(len(v.index) for v in held) / sum(v.values.numel() for v in held)


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_bytes(work: Callable[[], Any]) -> int:
    """Most memory that PyTorch's CPU allocator had handed out for this at any time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    held = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def goals(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        ("share of copy bandwidth, 3 anchors", row["share_of_copy"], "1", ">= 0.6", 0.6),
        ("rank-64 mutation, times as long", row["rank_64_ratio"], "x", "<= 2", -2.0),
        ("peak extra memory / largest tensor in float32", row["peak_share"], "1", "<= 1.1", -1.1),
    ]
    return [
        {
            "name": f"{row['family']}: {name}",
            "value": value,
            "unit": unit,
            "goal": goal,
            "met": value >= bound if bound > 0 else value <= -bound,
        }
        for name, value, unit, goal, bound in found
    ]


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    for row in report["rows"]:
        lines.append(
            f"{row['family']:<14} copy {row['copy_gb_per_s']:.2f} GB/s"
            f"  plain {row['seconds']:.3f} s  rank 64 {row['seconds_rank_64']:.3f} s"
            f"  first {row['first_seconds']:.2f} s"
            f"  bare loop {row['bare_loop_share_of_copy']:.2f} of copy"
        )
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
