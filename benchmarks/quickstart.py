"""Does breeding matter? The quickstart's experts on fresh tasks, beside seeds and random genomes.

    python -m benchmarks.quickstart [--seeds 1 2 3] [--tasks 240] [--folder runs/benchmark] [--json]

For each run seed: run the quickstart (or go on with it), then put fresh instances of the generators
in its history to

- the best bred expert and the best seed, both chosen on the history, never on the test;
- the task forces of 3 and 8, chosen greedily on the history from the final archive;
- the seeds: 3 chosen in the same way; at N = 8 all of them, filled up by samples at T = 0.7;
- as many random genomes as the run judged experts, without evolution, same bounds, graded on the
  same history, with the same greedy choice.

Run seed 0 is left out by default: operators and the offline scientist were tuned on it.
Intervals are 95 %, from a paired bootstrap over generators. Everything is kept; a second call is
quick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.context import RunContext
from agents.items import Item, items_of
from agents.judging import Examiner, family_outcome
from agents.offline.author import write
from agents.offline.sketches import Sketch, read_sketch
from agents.reporting import condemned
from agents.schemas import Proposal
from benchmarks.machine import describe_machine
from console.assembly import open_context
from console.coevolution import coevolve
from console.rundir import RunFolder
from evolution.breeding import random_genome
from evolution.coverage import task_force
from evolution.genome import Genome
from evolution.intervals import Interval, cluster_bootstrap
from memory.hashing import text_hash
from memory.randomness import derive_seed
from memory.store import RunStore

Passes = Mapping[str, bool]
"""Item id -> solved."""


@dataclass(frozen=True, slots=True)
class Test:
    """Fresh items, and the generator (cluster) of each."""

    items: Mapping[str, Item]
    cluster: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """Solved items of one way of answering with N experts."""

    name: str
    n: int
    experts: tuple[str, ...]
    solved: Passes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tasks", type=int, default=240)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--set", action="append", default=[], help="configuration of the runs")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny run, few tasks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.tasks = options.seeds[:1], 24
        options.set += ["generations=1", "pool.capacity=8", "pool.adaptations=0"]
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    tests: list[Test] = []
    runs: list[dict[tuple[str, int], Row]] = []
    for seed in options.seeds:
        folder = RunFolder(options.folder / f"seed-{seed}")
        config = folder.begin(None, (f"seed={seed}", *options.set))
        await coevolve(folder, config, lambda event: print(event.text, file=sys.stderr))
        async with open_context(folder, config) as context:
            test, found = await examine_run(context, seed, options.tasks)
        tests.append(test)
        runs.append(found)
        rows += [describe(row, test, seed) for row in found.values()]
    return {
        "bench": "quickstart",
        "machine": describe_machine(),
        "tasks": [len(test.items) for test in tests],
        "rows": rows,
        "goals": goals(tests, runs),
    }


async def examine_run(
    context: RunContext, seed: int, tasks: int
) -> tuple[Test, dict[tuple[str, int], Row]]:
    """All rows of one finished run."""
    with RunStore.open(context.folder / "benchmark") as store:
        test = await fresh_test(context, seed, tasks)
        bench = Bench(context, store, test)
        found = [*await own_rows(bench), *await random_rows(bench, seed)]
    return test, {(row.name, row.n): row for row in found}


async def fresh_test(context: RunContext, seed: int, tasks: int) -> Test:
    """New instances of the generators in the history, equally many of each generator."""
    sketches: dict[str, list[Sketch]] = {}
    known: set[str] = set()
    for family in context.store.families():
        known.update(family.instructions.values())
        sketch = read_sketch(family.code)
        if sketch is not None:
            sketches.setdefault(family.generator, []).append(sketch)
    items: dict[str, Item] = {}
    cluster: dict[str, str] = {}
    each = -(-tasks // len(sketches))
    for generator, of_generator in sorted(sketches.items()):
        number = 0
        while sum(name == generator for name in cluster.values()) < each and number < 4 * each:
            sketch = of_generator[number % len(of_generator)]
            draw = derive_seed(seed, 0, f"test/{generator}", number) % 2**31
            number += 1
            for item in await instances(context, replace(sketch, seed=draw, own_scorer=True)):
                if item.instructions not in known:
                    known.add(item.instructions)
                    items[item.instance_hash] = item
                    cluster[item.instance_hash] = generator
    return Test(items, cluster)


async def instances(context: RunContext, sketch: Sketch) -> list[Item]:
    proposal = Proposal.model_validate(write(sketch))
    inspection = await context.sandbox.inspect(proposal.code)
    code_hash = text_hash(proposal.code)
    return [
        Item(proposal.code, code_hash, instance, text)
        for instance, text in sorted(inspection.instructions.items())
    ]


@dataclass(frozen=True, slots=True)
class Bench:
    """What the rows are measured with; answers are kept apart from the run's own."""

    context: RunContext
    store: RunStore
    test: Test

    async def solve(self, genome: Genome, temperature: float = 0.0, sample: int = 0) -> Passes:
        """Which fresh items a genome solves."""
        items = list(self.test.items.values())
        results = await (await self._examiner(temperature, sample)).examine(
            (await self.context.population.bank()).genome_id(genome), genome, items
        )
        return {result.item.instance_hash: bool(result.passed) for result in results}

    async def history(self, genome: Genome) -> dict[str, bool]:
        """Skill vector of a genome on the history of the run."""
        families = [
            family
            for family in self.context.store.families()
            if not condemned(self.context, family)
        ]
        items = [item for family in families for item in items_of(family)]
        results = await (await self._examiner(0.0, 0)).examine(
            (await self.context.population.bank()).genome_id(genome), genome, items
        )
        skills = {}
        for family in families:
            of_family = [r for r in results if r.item.code_hash == family.code_hash]
            outcome = family_outcome(of_family)
            if outcome is not None:
                skills[family.id] = outcome
        return skills

    async def _examiner(self, temperature: float, sample: int) -> Examiner:
        context = self.context
        return Examiner(
            self.store,
            await context.population.broker(),
            context.sandbox,
            context.render_question,
            context.judge.model_copy(update={"temperature": temperature}),
            seed=derive_seed(context.seed, 0, "resample", sample),
        )


async def own_rows(bench: Bench) -> list[Row]:
    """Experts, seeds, and task forces of both."""
    context = bench.context
    store = context.store
    families = [family.id for family in store.families()]
    archive = [expert.id for expert in context.archive_experts()]
    seeds = [expert.id for expert in store.experts(0) if expert.is_seed]
    skills = {name: store.skills(name) for name in {*archive, *seeds}}
    genomes = {name: context.genome(store.expert(name)) for name in skills}
    solved = {name: await bench.solve(genome) for name, genome in genomes.items()}
    bred = [name for name in archive if name not in seeds]
    force = task_force({name: skills[name] for name in archive}, families, len(archive)).experts
    seed_force = task_force({name: skills[name] for name in seeds}, families, len(seeds)).experts
    rows = [
        collective("best_bred", [best(skills, bred or archive)], solved),
        collective("best_seed", [best(skills, seeds)], solved),
        *(collective("force", force[:n], solved) for n in (3, 8)),
        collective("seeds", seed_force[:3], solved),
    ]
    resampled = []
    for place in range(8 - len(seed_force)):
        name = seed_force[place % len(seed_force)]
        label = f"{name} at T=0.7 ({place})"
        solved[label] = await bench.solve(genomes[name], 0.7, place)
        resampled.append(label)
    return [*rows, collective("seeds", [*seed_force, *resampled], solved)]


async def random_rows(bench: Bench, seed: int) -> list[Row]:
    """As many random genomes as the run judged, with the same choice on the same history."""
    context = bench.context
    bank = await context.population.bank()
    count = len(context.store.experts())
    genomes = {
        f"random-{index}": random_genome(
            bank, derive_seed(seed, 0, "random-genome", index), context.breeding
        )
        for index in range(count)
    }
    skills = {name: await bench.history(genome) for name, genome in genomes.items()}
    families = [family.id for family in context.store.families()]
    force = task_force(skills, families, 8).experts
    champion = best(skills, list(skills))
    solved = {name: await bench.solve(genomes[name]) for name in {*force, champion}}
    return [
        collective("random_genomes", [champion], solved),
        *(collective("random_genomes", force[:n], solved) for n in (3, 8)),
    ]


def best(skills: Mapping[str, Mapping[str, bool]], names: Sequence[str]) -> str:
    """The fittest on the history; the first on ties."""
    return max(names, key=lambda name: sum(skills[name].values()) / max(1, len(skills[name])))


def collective(name: str, experts: Sequence[str], solved: Mapping[str, Passes]) -> Row:
    items = next(iter(solved.values()))
    union = {item: any(solved[expert][item] for expert in experts) for item in items}
    return Row(name, len(experts), tuple(experts), union)


def describe(row: Row, test: Test, seed: int) -> dict[str, Any]:
    interval = spread([test], [row], None)
    return {
        "seed": seed,
        "name": row.name,
        "n": row.n,
        "coverage": round(interval.mean, 4),
        "coverage_ci": [round(interval.low, 4), round(interval.high, 4)],
        "experts": list(row.experts),
    }


def spread(tests: Sequence[Test], rows: Sequence[Row], others: Sequence[Row] | None) -> Interval:
    """Coverage, or the paired difference of Coverage, over all tests; clusters are generators."""
    values: dict[str, list[float]] = {}
    for index, (test, row) in enumerate(zip(tests, rows, strict=True)):
        for item, cluster in test.cluster.items():
            value = float(row.solved[item])
            if others is not None:
                value -= float(others[index].solved[item])
            values.setdefault(cluster, []).append(value)
    return cluster_bootstrap(values)


COMPARISONS = [
    (("best_bred", 1), ("best_seed", 1)),
    (("force", 3), ("seeds", 3)),
    (("force", 3), ("random_genomes", 3)),
    (("force", 8), ("seeds", 8)),
    (("force", 8), ("random_genomes", 8)),
]


def goals(
    tests: Sequence[Test], runs: Sequence[dict[tuple[str, int], Row]]
) -> list[dict[str, Any]]:
    """Each comparison over all run seeds: difference of Coverage with its interval."""
    found = []
    for ours, theirs in COMPARISONS:
        if any(ours not in run or theirs not in run for run in runs):
            continue
        interval = spread(tests, [run[ours] for run in runs], [run[theirs] for run in runs])
        found.append(
            {
                "name": f"{ours[0]} - {theirs[0]} at N = {ours[1]}",
                "value": round(interval.mean, 4),
                "interval": [round(interval.low, 4), round(interval.high, 4)],
                "unit": "Coverage",
                "goal": "> 0, interval excludes zero",
                "met": interval.low > 0,
            }
        )
    return found


def table(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']['processor']}, {report['machine']['cores']} cores"]
    lines += [
        f"seed {row['seed']}  {row['name']:<15} N = {row['n']}  {row['coverage']:.3f} "
        f"[{row['coverage_ci'][0]:.3f}, {row['coverage_ci'][1]:.3f}]"
        for row in report["rows"]
    ]
    lines += [
        f"{goal['name']}: {goal['value']:+.3f} [{goal['interval'][0]:+.3f}, "
        f"{goal['interval'][1]:+.3f}] {'met' if goal['met'] else 'not met'}"
        for goal in report["goals"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
