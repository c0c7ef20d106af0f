"""Bank, materialise and swaps on a CUDA device, with a 7B-shaped family; and what engines promise.

    python -m benchmarks.gpu [--shape qwen2-7b] [--rounds 9] [--device cuda] [--quick] [--json]

Three full seeds; the bank resident on the GPU and, as where it does not fit, locked on the host and
streamed. Both must write the same bits, and a swap A -> B -> A must give A's again. Then each
engine that is installed reads replies of the quickstart's experts on the GPU: their
log-probabilities must be those of transformers on the CPU, and A's again after B. At last the
seeds are merged by RegMean, and one of them is taught, twice each: with equal bits, in the memory
that was planned, and for a tiny family with the CPU's anchors. Without a GPU it says so, and
measures nothing; `--device cpu` takes merge and lesson through the same lines on the CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.families import random_family
from benchmarks.gpu_learning import goals as learning_goals
from benchmarks.gpu_learning import learned
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines
from benchmarks.roofline import RANK, SEEDS, dense_bytes, genomes
from benchmarks.swap import families
from console.run.config import cache_folder
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines import open_engine
from evolution.engines.base import Ask
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.materialise.streaming import page_lock
from evolution.materialise.weights import checksum, expected_checksum, materialise
from memory.records import Sampling

STRIDE = 97
QUESTIONS, REPLY = 16, Sampling(max_tokens=24)
TOLERANCE = 0.05
"""Of log-probabilities, on average over the tokens: all compute in bfloat16."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shape", default="qwen2-7b")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda", help="cpu: merge and lesson alone, on the CPU")
    parser.add_argument("--quick", action="store_true", help="a smoke test on a tiny family")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shape, rounds = ("tiny", 3) if options.quick else (options.shape, options.rounds)
    if options.device == "cpu":
        rows = learning(shape, "cpu")
    elif torch.cuda.is_available():
        rows = [measure(shape, rounds, placed) for placed in ("resident", "streamed")]
        rows += asyncio.run(promised(installed(), "cuda"))
        rows += learning(shape, "cuda") + ([] if shape == "tiny" else learning("tiny", "cuda"))
    else:
        print("there is no CUDA device here: nothing to measure", file=sys.stderr)
        rows = []
    report = {
        "bench": "gpu",
        "machine": describe_machine(),
        "rows": rows,
        "goals": goals(rows) if rows else [],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(shape: str, rounds: int, placed: str) -> dict[str, Any]:
    with random_family(shape, SEEDS, RANK, "cuda" if placed == "resident" else "cpu") as bank:
        if placed == "streamed":
            page_lock(bank)
        model = bank.model().to("cuda")
        plain, mutated = genomes(bank)
        materialise(bank, plain, model)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        swaps = {
            name: statistics.median(
                timed(partial(materialise, bank, genome, model)) for _ in range(rounds)
            )
            for name, genome in (("plain", plain), ("mutated", mutated))
        }
        moved = 2 * sum(t.nbytes for t in bank.base.values()) + sum(dense_bytes(bank))
        return {
            "bank": placed,
            "family": shape,
            "seconds": round(swaps["plain"], 4),
            "seconds_rank_64": round(swaps["mutated"], 4),
            "gb_per_s": round(moved / swaps["plain"] / 1e9, 1),
            "copy_gb_per_s": round(copy_speed(model), 1),
            "peak_bytes": torch.cuda.max_memory_allocated() - held,
            "checksums": [swapped(bank, model, each) for each in (plain, mutated, plain)],
        }


def learning(shape: str, device: str) -> list[dict[str, Any]]:
    """A merge and a lesson; a tiny family is made by the CPU too."""
    with random_family(shape, SEEDS, RANK, device) as bank:
        return learned(shape, bank, device, compare=shape == "tiny")


def swapped(bank: Bank, model: Any, genome: Genome) -> str:
    """The checksum of a model after a swap, which must be the expected one."""
    materialise(bank, genome, model)
    found = checksum(model, STRIDE)
    if found != expected_checksum(bank, genome, STRIDE, torch.device("cuda")):
        raise SystemExit("a swap on the GPU wrote other weights than expected")
    return found


def installed() -> list[str]:
    """The kinds of engines that are there."""
    return list(dict.fromkeys(["transformers", EngineSettings(kind="auto").settled().kind]))


async def promised(kinds: Sequence[str], device: str) -> list[dict[str, Any]]:
    """Each engine on that device beside transformers on the CPU, with the same replies to read."""
    bank = load_bank(ModelSettings(), SpectralSettings(), cache_folder())
    experts = [bank.seed_genome(name) for name in bank.seed_names[1:3]]
    prompts = families(1)[:QUESTIONS]
    said: list[list[str]] = []
    expected: list[list[list[float]]] = []
    plain = open_engine(bank, EngineSettings(kind="transformers", device="cpu"))
    for expert in experts:
        async with plain.lease(expert) as lease:
            said.append([reply.text for reply in await lease.answer(Ask(prompts, REPLY))])
            expected.append(await lease.score(prompts, said[-1]))
    await plain.close()
    rows = []
    for kind in kinds:
        engine = open_engine(bank, EngineSettings.model_validate({"kind": kind, "device": device}))
        found = []
        for index in (0, 1, 0):
            async with engine.lease(experts[index]) as lease:
                found.append(await lease.score(prompts, said[index]))
        await engine.close()
        rows.append(
            {
                "engine": kind,
                "device": device,
                "apart": round(max(map(apart, found[:2], expected)), 4),
                "first_again": found[2] == found[0],
            }
        )
    return rows


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """Mean absolute difference of the log-probabilities of the same tokens."""
    pairs = zip(itertools.chain(*ours), itertools.chain(*theirs), strict=True)
    return statistics.mean(abs(one - other) for one, other in pairs)


def copy_speed(model: Any) -> float:
    """Bytes read and written per second, in GB, by a copy within the GPU."""
    source = max(model.parameters(), key=lambda parameter: parameter.numel()).detach()
    target = torch.empty_like(source)
    fastest = min(timed(lambda: target.copy_(source)) for _ in range(9))
    return float(2 * source.nbytes / fastest / 1e9)


def timed(work: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = promises(rows) if any("bank" in row for row in rows) else []
    return found + learning_goals([row for row in rows if "learning" in row])


def promises(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Goals of bank, swaps and engines."""
    resident, streamed = (row for row in rows if "bank" in row)
    engines = [row for row in rows if "engine" in row]
    share = resident["gb_per_s"] / resident["copy_gb_per_s"]
    same = resident["checksums"] == streamed["checksums"]
    back = resident["checksums"][0] == resident["checksums"][2]
    return [
        {
            "name": "share of copy bandwidth, resident",
            "value": round(share, 3),
            "unit": "1",
            "goal": ">= 0.6",
            "met": share >= 0.6,
        },
        {
            "name": "resident and streamed write the same bits, A -> B -> A is A",
            "value": int(same and back),
            "unit": "bool",
            "goal": 1,
            "met": same and back,
        },
        *(
            {
                "name": f"{row['engine']}: log-probabilities apart from the CPU's",
                "value": row["apart"],
                "unit": "nat",
                "goal": f"<= {TOLERANCE}, and A -> B -> A is A",
                "met": row["apart"] <= TOLERANCE and row["first_again"],
            }
            for row in engines
        ),
    ]


def table(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']['gpu'] or 'no GPU'}"]
    lines += [
        f"{row['family']} {row['bank']:<9} plain {row['seconds']:.4f} s  rank 64 "
        f"{row['seconds_rank_64']:.4f} s  {row['gb_per_s']} of {row['copy_gb_per_s']} GB/s"
        for row in report["rows"]
        if "bank" in row
    ]
    lines += [
        f"{row['learning']} of {row['family']} on {row['device']}: {row['seconds']} s, "
        f"{row['peak_bytes'] / 1e9:.2f} of {row['planned_bytes'] / 1e9:.2f} GB planned"
        for row in report["rows"]
        if "learning" in row
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
