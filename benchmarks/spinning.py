"""Threads that wait for each other: what spinning costs beside a busy process.

    python -m benchmarks.spinning [--rounds 3] [--json]

Small matrix products, as in decoding, by one thread, and by two that spin as long as OpenMP lets
them or as briefly as `memory.threads` has it; each alone, and beside a process that keeps one core
busy. Every round runs all of them, each in a process of its own, since OpenMP reads its settings
once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.machine import describe_machine

WAYS = {
    "one thread": (1, "1000"),
    "two, spinning": (2, "300000"),
    "two, sleeping soon": (2, "1000"),
}
"""Threads, and how often they look before they sleep: 300,000 times where nothing is set."""
PRODUCTS, ROWS, INNER, OUTER, SECONDS = 100, 8, 576, 1536, 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.products:
        print(products_per_second(options.products))
        return 0
    found = measure(options.rounds)
    print(json.dumps(found, indent=2) if options.json else _table(found))
    return 0


def products_per_second(threads: int) -> float:
    """Matrix products of one batch of decoding, one after another."""
    import torch

    torch.set_num_threads(threads)
    matrices = [torch.randn(OUTER, INNER) for _ in range(PRODUCTS)]
    rows, done, start = torch.randn(ROWS, INNER), 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        for matrix in matrices:
            torch.nn.functional.silu(rows @ matrix.T)
        done += PRODUCTS
    return done / (time.perf_counter() - start)


def measure(rounds: int) -> dict[str, Any]:
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for busy in (0, 1):
            for way, (threads, spin) in WAYS.items():
                rates.setdefault((way, busy), []).append(_rate(threads, spin, busy))
    median = {key: statistics.median(found) for key, found in rates.items()}
    rows = [
        {
            "way": way,
            "busy_processes": busy,
            "products_per_second": round(rate),
            "to_one_thread": round(rate / median["one thread", busy], 2),
        }
        for (way, busy), rate in median.items()
    ]
    soon, spinning = median["two, sleeping soon", 1], median["two, spinning", 1]
    alone = median["two, sleeping soon", 0] / median["two, spinning", 0]
    goals = [
        ("sleeping soon to spinning, beside a busy process", soon / spinning, 1.0),
        ("sleeping soon to spinning, alone", alone, 0.9),
    ]
    return {
        "bench": "spinning",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [
            {"name": n, "value": round(v, 2), "unit": "ratio", "goal": f">= {g}", "met": v >= g}
            for n, v, g in goals
        ],
    }


def _rate(threads: int, spin: str, busy: int) -> float:
    """Products a second of a process of its own, beside so many that never rest."""
    here = {**os.environ, "GOMP_SPINCOUNT": spin}
    here.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-m", "benchmarks.spinning", "--products", str(threads)]
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        done = subprocess.run(command, env=here, check=True, capture_output=True, text=True)
    finally:
        for process in beside:
            process.kill()
            process.wait()
    return float(done.stdout)


def _table(found: dict[str, Any]) -> str:
    lines = [f"{found['machine']['processor']}, {found['machine']['cores']} cores", ""]
    lines += [
        "| threads | busy processes beside | products / s | to one thread |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['way']} | {row['busy_processes']} | {row['products_per_second']:,} "
        f"| {row['to_one_thread']:.2f} |"
        for row in found["rows"]
    ]
    lines += ["", *(f"{g['name']}: {g['value']} (goal {g['goal']})" for g in found["goals"])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
