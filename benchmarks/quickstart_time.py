"""How long the quickstart takes, phase by phase, and how well it uses the processor.

    python -m benchmarks.quickstart_time [--compute float32] [--folder runs/timed] [--json]

Runs `acdc run` on an empty folder and an empty cache, then measures founding once more with that
cache, and the judge's engine beside what matrix products of the same shapes reach. Nothing else
should run meanwhile. `--compute` forces the number format that experts are computed in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.base import Ask, Chat
from evolution.engines.broker import Broker
from evolution.engines.compute import choose_compute, measure_gflops
from evolution.engines.pool.pool import Pool
from evolution.engines.settings import EngineSettings
from evolution.population import Population
from memory.records import ChatMessage, Sampling
from memory.store import RunStore

QUICK = ["generations=0", "pool.capacity=4", "pool.founding_waves=1", "population.founders=4"]
GIB = 2**30
DECODED = 24
"""Tokens of a reply."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compute", default="auto", choices=["auto", "bfloat16", "float32"])
    parser.add_argument("--folder", type=Path, default=Path("runs/timed"))
    parser.add_argument("--quick", action="store_true", help="a much smaller run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.found:
        print(asyncio.run(found(options.found, options.compute)))
        return 0
    report = measure(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    run, cache = options.folder / "run", options.folder / "cache"
    if run.exists() or cache.exists():
        raise SystemExit(f"{options.folder} is not empty; name another --folder")
    show_progress("founding alone, cold and warm")
    cold, warm = (founding_seconds(cache, options.compute) for _ in range(2))
    show_progress("the whole run, with an empty cache")
    seconds, peak = run_quickstart(run, options.folder / "cache-of-run", options)
    engine = EngineSettings(compute=options.compute)
    compute = choose_compute(engine, "bfloat16", cache)
    show_progress("the judge's engine")
    rates = asyncio.run(engine_rates(cache, compute.dtype))
    phases, answers = phases_of(run)
    native = compute.dtype == "bfloat16"
    forced = options.compute != "auto"
    return {
        "bench": "quickstart_time",
        "machine": describe_machine()
        | {
            "compute": str(compute),
            "forced": forced,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
        "rows": [
            {"name": "whole run", "seconds": round(seconds, 1), "peak_gib": round(peak / GIB, 2)},
            {"name": "founding alone, cold", "seconds": round(cold, 1)},
            {"name": "founding alone, warm", "seconds": round(warm, 1)},
            *({"name": name, "seconds": round(took, 1)} for name, took in phases.items()),
            {"name": "answers", **answers},
            *rates,
        ],
        "goals": [
            goal(
                "whole run",
                round(seconds),
                "s",
                240 if native else 360,
                seconds <= (240 if native else 360),
            ),
            goal("peak memory", round(peak / GIB, 2), "GiB", 4, peak <= 4 * GIB),
            goal("founding, cold", round(cold, 1), "s", 15, cold <= 15),
            goal("founding, warm", round(warm, 1), "s", 5, warm <= 5),
            *(
                goal(
                    f"{rate['name']}, of what matrix products allow",
                    rate["share"],
                    "",
                    0.6,
                    rate["share"] >= 0.6,
                )
                for rate in rates
            ),
        ],
    }


def goal(name: str, value: float, unit: str, wanted: float, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": wanted, "met": met}


def founding_seconds(cache: Path, compute: str) -> float:
    """In a process of its own: what it has loaded once must not help the next time."""
    command = [sys.executable, "-m", "benchmarks.quickstart_time", "--found", str(cache)]
    done = subprocess.run(
        [*command, "--compute", compute], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


async def found(cache: Path, compute: str) -> float:
    """Seconds until experts can answer: bank, engine, and its first swap."""
    start = time.perf_counter()
    population, broker = await opened(cache, compute)
    bank = await population.bank()
    await broker.answer(
        "base", bank.base_genome(), Ask([question("1 + 1 =")], Sampling(max_tokens=1))
    )
    seconds = time.perf_counter() - start
    await population.close()
    return seconds


async def opened(cache: Path, compute: str) -> tuple[Population, Broker | Pool]:
    settings = EngineSettings.model_validate({"compute": compute})
    population = Population(ModelSettings(), SpectralSettings(), settings, cache)
    return population, await population.broker()


def question(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def run_quickstart(run: Path, cache: Path, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds and peak memory of the largest process."""
    settings = [f"engine.compute={options.compute}", *(QUICK if options.quick else [])]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "console", "run", str(run), *words]
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=sys.stderr, env={**os.environ, "ACDC_CACHE": str(cache)}
    )
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def phases_of(run: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds of each phase, as the clock on the wall saw them, and what experts answered."""
    with RunStore.open(run, read_only=True) as store:
        spans = [span for span in store.spans() if span.kind == "phase"]
        genomes = dict.fromkeys(expert.genome_id for expert in store.experts())
        replies = [answer.reply for name in genomes for answer in store.answers_of(name)]
    taken: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for span in spans:
        taken[span.name].append((span.started_ns, span.ended_ns))
    read, written = (sum(getattr(r, f"tokens_{way}") for r in replies) for way in ("in", "out"))
    busy = sum(reply.seconds for reply in replies)
    answers = {
        "answers": len(replies),
        "tokens_in": read,
        "tokens_out": written,
        "engine_seconds": round(busy, 1),
    }
    return {name: covered(times) / 1e9 for name, times in taken.items()}, answers


def covered(times: list[tuple[int, int]]) -> int:
    """Length of what intervals cover together."""
    total, end = 0, 0
    for first, last in sorted(times):
        total += max(last - max(first, end), 0)
        end = max(end, last)
    return total


async def engine_rates(cache: Path, compute: str) -> list[dict[str, Any]]:
    """Tokens per second that are read and written, beside what products of their shapes allow."""
    population, broker = await opened(cache, compute)
    bank = await population.bank()
    rows, wide = 32, 512
    shapes = bank.layout.shapes
    matrices = [(shapes[name][0], shapes[name][1]) for name in bank.layout.matrices]
    head = bank.config.vocab_size, bank.config.hidden_size
    inner, dtype = sum(m * n for m, n in matrices), getattr(torch, compute)
    story = "Tell a very long story about "
    short: list[Chat] = [question(f"{story} {number}.") for number in range(rows)]
    long = [question(f"{story} {'a red house, a dog, ' * 8} {number}.") for number in range(rows)]

    async def seconds(prompts: list[Chat], tokens: int) -> tuple[float, int, int]:
        best, read, written = float("inf"), 0, 0
        for _ in range(3):
            start = time.perf_counter()
            ask = Ask(prompts, Sampling(max_tokens=tokens))
            replies = await broker.answer("base", bank.base_genome(), ask)
            best = min(best, time.perf_counter() - start)
            read = sum(reply.tokens_in for reply in replies)
            written = sum(reply.tokens_out for reply in replies)
        return best, read, written

    reading, read, _ = await seconds([*long], 1)
    first, _, _ = await seconds(short, 1)
    all_of_it, _, written = await seconds(short, 1 + DECODED)
    await population.close()
    found = []
    for name, tokens, took, products, count in (
        ("prefill", read, reading, matrices, inner),
        ("decode", written - rows, all_of_it - first, [*matrices, head], inner + head[0] * head[1]),
    ):
        gflops = measure_gflops(
            dtype, torch.device("cpu"), None, wide if name == "prefill" else rows, products
        )
        allowed = 1e9 * gflops / (2 * count)
        found.append(
            {
                "name": name,
                "tokens_per_second": round(tokens / took),
                "gflops": round(2e-9 * count * tokens / took),
                "gflops_of_products": round(gflops),
                "share": round(tokens / took / allowed, 2),
            }
        )
    return found


def table(report: dict[str, Any]) -> str:
    lines = [f"{heading(report)}; computed in {report['machine']['compute']}"]
    if report["machine"]["forced"]:
        lines.append("the number format was forced")
    for row in report["rows"]:
        figures = ", ".join(f"{key} {value}" for key, value in row.items() if key != "name")
        lines.append(f"  {row['name']:22} {figures}")
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
