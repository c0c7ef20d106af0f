"""From a genome to its first answer, in both engines; and how many answers a second they give.

    python -m benchmarks.swap [--swaps 7] [--instances 10] [--adapters 8] [--config acdc.toml]
                              [--json] [--quick]

Children of the seeds are swapped in, one after another, and asked one short question. Rows:

- materialise: weights into a transformers model, nothing else, by turns with vLLM's swaps;
- transformers: the engine's lease, until its first answer;
- vllm: the same in the vLLM engine, where the worker makes the weights, and looks at them;
- vllm from disk: the expert is written to a folder and read by vLLM's worker from there;
- vllm restart: vLLM is started anew, until the first answer.

Then both engines answer fresh instances of the offline scientist's families as each seed, as a
judge asks them; and vLLM as some children, by swaps and as adapters of the base (`adapters`).
Without vLLM only the rows of transformers are measured, and no goal is met.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.config import RunConfig
from agents.offline.catalogue import WITHIN_REACH
from agents.offline.sketches import Sketch
from agents.settings import JudgeSettings
from benchmarks.adapters import side_by_side
from benchmarks.ladder import questions_of, render
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines
from console.run.config import cache_folder, resolve
from evolution.bank.bank import Bank, load_bank
from evolution.breeding.breed import breed
from evolution.engines import Engine, open_engine
from evolution.engines.base import Ask, Chat
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise
from memory.records import Sampling
from prompts import PromptLibrary

FIRST = Sampling(max_tokens=1)
SEED = 1_000_003
SWAP, RESTART, THROUGHPUT = 2.0, 50.0, 2.0


@dataclass
class Times:
    """Seconds of one way from genome to answer, in the order of the genomes."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def row(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "seconds": round(self.median, 4)} | more


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--swaps", type=int, default=7)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--instances", type=int, default=10, help="of each generator")
    parser.add_argument("--adapters", type=int, default=8, help="children in one batch")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.swaps, options.restarts, options.instances, options.adapters = 2, 1, 1, 2
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    config = resolve(options.config, ())
    bank = load_bank(config.models, config.spectral, cache_folder())
    genomes = children(bank, config, options.swaps + 1)
    questions = families(options.instances)
    settings = config.engine.model_copy(update={"kind": "transformers"})
    engine = open_engine(bank, settings)
    rows = [(await time_swaps("transformers", engine, genomes, questions[0])).row()]
    answers = [await throughput("transformers", engine, bank, questions)]
    await engine.close()
    if EngineSettings(kind="auto").settled().kind == "vllm":
        found = await with_vllm(bank, config, genomes, questions, options.restarts)
        rows += found[0]
        answers.append(found[1])
        settings = config.engine.model_copy(update={"kind": "vllm"})
        experts = children(bank, config, options.adapters)
        answers += await side_by_side(bank, settings, experts, questions)
    return {
        "bench": "swap",
        "machine": describe_machine(),
        "rows": rows + answers,
        "goals": goals({row["name"]: row for row in rows + answers}),
    }


def children(bank: Bank, config: RunConfig, count: int) -> list[Genome]:
    """As a run breeds them: crossed and mutated."""
    seeds = [bank.seed_genome(name) for name in bank.seed_names]
    pairs = itertools.cycle(itertools.combinations(seeds, 2))
    return [
        breed(bank, pair, number, config.breeding).genome
        for number, pair in zip(range(count), pairs, strict=False)
    ]


def families(instances: int) -> list[Chat]:
    """What the judge asks: first-level instances of every generator within reach of the seeds."""
    library = PromptLibrary()
    return [
        render(library, question.text)
        for entry in WITHIN_REACH
        for question in questions_of(Sketch((entry.generator,)), 1, instances, SEED)
    ]


async def in_turn(
    bank: Bank, engine: Engine, genomes: Sequence[Genome], question: Chat
) -> tuple[Times, Times]:
    """Of materialise, and of swaps in vLLM, by turns: the machine's speed changes.

    The first of each, in which all warms up, does not count.
    """
    model = bank.model()
    weights, swaps = [], []
    for genome in genomes:
        begun = time.perf_counter()
        materialise(bank, genome, model)
        weights.append(time.perf_counter() - begun)
        swaps.append(await first_answer(engine, genome, question))
    return Times("materialise", weights[1:]), Times("vllm", swaps[1:])


async def time_swaps(name: str, engine: Engine, genomes: Sequence[Genome], question: Chat) -> Times:
    """The first swap, in which the engine warms up, does not count."""
    seconds = [await first_answer(engine, genome, question) for genome in genomes]
    return Times(name, seconds[1:])


async def first_answer(engine: Engine, genome: Genome, question: Chat) -> float:
    begun = time.perf_counter()
    async with engine.lease(genome) as expert:
        await expert.answer(Ask([question], FIRST))
    return time.perf_counter() - begun


async def throughput(
    name: str, engine: Engine, bank: Bank, questions: Sequence[Chat]
) -> dict[str, Any]:
    """Answers a second over all seeds, swaps included."""
    sampling = JudgeSettings().sampling
    genomes = [bank.seed_genome(seed) for seed in bank.seed_names]
    begun, tokens = time.perf_counter(), 0
    for genome in genomes:
        async with engine.lease(genome) as expert:
            replies = await expert.answer(Ask(questions, sampling))
        tokens += sum(reply.tokens_in + reply.tokens_out for reply in replies)
    seconds = time.perf_counter() - begun
    return {
        "name": f"judge, {name}",
        "seconds": round(seconds, 2),
        "answers_per_second": round(len(genomes) * len(questions) / seconds, 1),
        "tokens_per_second": round(tokens / seconds),
    }


async def with_vllm(
    bank: Bank,
    config: RunConfig,
    genomes: Sequence[Genome],
    questions: Sequence[Chat],
    restarts: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the swaps, and that of the throughput."""
    from evolution.engines.vllm.engine import VllmEngine

    settings = config.engine.model_copy(update={"kind": "vllm"})
    restarted = []
    for genome in genomes[:restarts]:
        begun = time.perf_counter()
        engine = VllmEngine(bank, settings)
        await first_answer(engine, genome, questions[0])
        restarted.append(time.perf_counter() - begun)
        await engine.close()
    engine = VllmEngine(bank, settings)
    weights, swaps = await in_turn(bank, engine, genomes, questions[0])
    parts = {name: round(value, 4) for name, value in engine.swapped["seconds"].items()}
    answers = await throughput("vllm", engine, bank, questions)
    engine.swap_through_folders()
    disk = await time_swaps("vllm from disk", engine, genomes, questions[0])
    await engine.close()
    rows = [weights.row(), swaps.row(last_swap=parts), disk.row()]
    return [*rows, Times("vllm restart", restarted).row()], answers


def goals(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    def share(name: str, above: str, below: str, key: str, goal: float, at_most: bool) -> Any:
        value = rows[above][key] / rows[below][key] if {above, below} <= set(rows) else None
        met = value is not None and (value <= goal if at_most else value >= goal)
        value = None if value is None else round(value, 2)
        return {"name": name, "value": value, "unit": "x", "goal": goal, "met": met}

    return [
        share("vLLM: genome to answer / materialise", "vllm", "materialise", "seconds", SWAP, True),
        share(
            "vLLM: restart / genome to answer", "vllm restart", "vllm", "seconds", RESTART, False
        ),
        share(
            "judge: vLLM / transformers",
            "judge, vllm",
            "judge, transformers",
            "answers_per_second",
            THROUGHPUT,
            False,
        ),
    ]


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{row['name']:<20} {row['seconds']:>9.3f} s"
        + (f"  {row['answers_per_second']:.1f} answers/s" if "answers_per_second" in row else "")
        + "".join(f"  {row[more]}" for more in ("last_swap", "adapters") if more in row)
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
