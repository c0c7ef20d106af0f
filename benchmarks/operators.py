"""Which crossover keeps the parents' skills? Children of pairs of seeds on the tasks of a run.

    python -m benchmarks.operators RUN [--children 6] [--json]

Each crossover breeds children of every pair of seeds, without mutation, from the same random
numbers; all of them answer the history of a finished run. Printed: mean fitness, and how many
families some child passes that no seed does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

from agents.evaluation.bench import Bench
from agents.task_force.field import history_of
from benchmarks.machine import describe_machine
from benchmarks.reporting import run_as_command
from console.run.folder import RunFolder
from console.run.reading import open_reading, open_scoring
from evolution.breeding.breed import breed
from evolution.genome.genome import Genome
from memory.records import Skills, rate_of
from memory.store import RunStore

CROSSOVERS = ("slerp", "linear", "task_arithmetic", "split_slerp", "uniform_layers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--children", type=int, default=6, help="of each crossover")
    parser.add_argument("--crossovers", nargs="+", default=CROSSOVERS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    folder = RunFolder(options.run)
    config = folder.begin(None, ())
    async with open_reading(folder, config) as context, open_scoring(context) as sandbox:
        bank = await context.population.bank()
        seeds = {n: bank.seed_genome(n) for n in bank.seed_names if n != bank.base_name}
        with RunStore.open(folder.path / "benchmark") as store:
            bench = Bench(context, store, sandbox, [], context.config.judge.max_tokens)
            families = history_of(context.store)

            async def grade(genome: Genome) -> Skills:
                skills = await bench.history(bank.genome_id(genome), genome, families)
                return {family: 2 * rate_of(skill) > 1 for family, skill in skills.items()}

            alone = {name: await grade(genome) for name, genome in seeds.items()}
            rows = [{"name": name} | summary([skills], alone) for name, skills in alone.items()]
            for crossover in options.crossovers:
                settings = context.config.breeding.model_copy(
                    update={"crossovers": {crossover: 1.0}, "mutations": {}}
                )
                pairs = itertools.cycle(itertools.combinations(seeds.values(), 2))
                children = [
                    breed(bank, pair, rng_seed, settings).genome
                    for rng_seed, pair in zip(range(options.children), pairs, strict=False)
                ]
                found = [await grade(child) for child in children]
                rows.append({"name": crossover} | summary(found, alone))
    return {"bench": "operators", "machine": describe_machine(), "rows": rows, "goals": []}


def summary(children: list[Skills], seeds: dict[str, Skills]) -> dict[str, Any]:
    known = {family for skills in seeds.values() for family, passed in skills.items() if passed}
    new = {family for skills in children for family, passed in skills.items() if passed} - known
    fitness = [sum(skills.values()) / len(skills) for skills in children]
    return {
        "mean_fitness": round(statistics.mean(fitness), 3),
        "best_fitness": round(max(fitness), 3),
        "new_families": len(new),
    }


def table(report: dict[str, Any]) -> str:
    return "\n".join(
        f"{row['name']:<20} fitness {row['mean_fitness']:.3f} (best {row['best_fitness']:.3f}), "
        f"{row['new_families']} families that no seed passes"
        for row in report["rows"]
    )


if __name__ == "__main__":
    run_as_command(main)
