"""How well does the judge see? Fitness in a finished run against many fresh instances per family.

    python -m benchmarks.judged RUN [--each 20] [--json]

The competitors of the last generation answer fresh instances of every active generative family,
which no part of the run has asked. The reference is the mean over families of what they pass there,
chance taken off. Beside it: their fitness in the judge, as it was; fitness on four of these
instances, drawn again and again, with its standard error; and as families were graded before there
were fresh instances, by whether both of two are passed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.families.items import Item, item_of
from agents.judge.examiner import Examiner
from agents.sandbox import Sandbox, open_sandbox
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, run_as_command, show_progress
from console.run.folder import RunFolder
from console.run.reading import open_reading
from evolution.selection.board import Board, Candidate
from memory.randomness import SEED_RANGE, derive_seed
from memory.records import Expert, Family, Instance, Skill, SkillCounts
from memory.store import RunStore

DRAWS = 200
"""Draws of a few of the instances, of which the standard error is the spread."""
Passes = Mapping[str, Mapping[str, NDArray[np.bool_]]]
"""Expert -> family -> (instances,) whether it passes each."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--each", type=int, default=20, help="instances of each family")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    folder = RunFolder(options.run)
    config = folder.begin(None, ())
    async with open_reading(folder, config) as context:
        store = context.store
        generation = config.generations
        period = generation // config.pool.adapt_every
        families = [f for f in store.families("active") if f.generative]
        graded = {e.id: store.skill_counts(e.id, period) for e in store.experts()}
        out = store.eliminated()
        experts = [
            expert
            for expert in store.experts()
            if expert.id not in out and all(f.id in graded[expert.id] for f in families)
        ]
        sandbox = open_sandbox(config.sandbox)
        try:
            items = await fresh(store, sandbox, families, options.each)
            with RunStore.open(folder.path / "benchmark") as book:
                examiner = Examiner(
                    store=book,
                    broker=await context.population.broker(),
                    sandbox=sandbox,
                    render=context.render_question,
                    settings=config.judge,
                )
                passes: dict[str, dict[str, NDArray[np.bool_]]] = {}
                for expert in experts:
                    show_progress(f"{len(passes)} of {len(experts)} experts have answered")
                    passes[expert.id] = await answered(
                        examiner, expert, context.genome(expert), items
                    )
        finally:
            await sandbox.close()
        return report(experts, families, graded, passes, config.judge.instances)


async def fresh(
    store: RunStore, sandbox: Sandbox, families: Sequence[Family], each: int
) -> dict[str, list[Item]]:
    """Instances whose questions the run has not asked."""
    found = {}
    for family in families:
        known = {*family.instructions.values()}
        known |= {instance.instructions for instance in store.instances(family.id)}
        first = derive_seed(0, 0, f"benchmark/{family.id}") % SEED_RANGE
        drawn = await sandbox.draw(family.code, range(first, first + 2 * each), family.level)
        asked: dict[str, Item] = {}
        for name, text in drawn.instructions.items():
            if text not in known and len(asked) < each:
                instance = Instance(
                    family=family.id,
                    period=0,
                    name=name,
                    instructions=text,
                    reference=drawn.references[name],
                    wrong=tuple(drawn.wrong[name]),
                )
                asked.setdefault(text, item_of(family, instance))
        found[family.id] = list(asked.values())
    return found


async def answered(
    examiner: Examiner, expert: Expert, genome: Any, items: Mapping[str, Sequence[Item]]
) -> dict[str, NDArray[np.bool_]]:
    everything = [item for asked in items.values() for item in asked]
    results = iter(await examiner.examine(expert.genome_id, genome, everything))
    return {
        family: np.array([bool(next(results).passed) for _ in asked])
        for family, asked in items.items()
    }


def report(
    experts: Sequence[Expert],
    families: Sequence[Family],
    judged: Mapping[str, SkillCounts],
    passes: Passes,
    instances: int,
) -> dict[str, Any]:
    chance = {family.id: family.chance for family in families}
    names = [expert.id for expert in experts]
    truth = np.array(
        [
            np.mean([beyond(passes[n][f].mean(), chance[f]) for f in chance if len(passes[n][f])])
            for n in names
        ]
    )
    rng = np.random.default_rng(0)
    before, after = [], []
    for _ in range(DRAWS):
        picked = {f: rng.permutation(len(passes[names[0]][f])) for f in chance}
        both = {n: {f: bool(passes[n][f][picked[f][:2]].all()) for f in chance} for n in names}
        few = {n: {f: counted(passes[n][f][picked[f][:instances]]) for f in chance} for n in names}
        before.append(fitness(experts, both, {}))
        after.append(fitness(experts, few, chance))
    asked = {len(found) for found in passes[names[0]].values()}
    own = fitness(experts, {n: {f: judged[n][f] for f in chance} for n in names}, chance)
    rows = [
        row("both of two instances", np.array(before), truth),
        row(f"{instances} instances, shrunk", np.array(after), truth),
        row("the judge's own", own[None], truth),
    ]
    correlation = rows[2]["correlation"]
    return {
        "bench": "judged",
        "machine": describe_machine(),
        "experts": len(names),
        "families": len(families),
        "instances": max(asked),
        "rows": rows,
        "experts_by_name": [
            {"expert": n, "judge": round(float(j), 4), "fresh": round(float(t), 4)}
            for n, j, t in zip(names, own, truth, strict=True)
        ],
        "goals": [
            {
                "name": "correlation of the judge's fitness with fitness on fresh instances",
                "value": correlation,
                "unit": "1",
                "goal": ">= 0.95",
                "met": correlation >= 0.95,
            }
        ],
    }


def counted(passed: NDArray[np.bool_]) -> Skill:
    return Skill(passes=int(passed.sum()), asked=len(passed))


def beyond(rate: float, chance: float) -> float:
    return max(0.0, (rate - chance) / (1 - chance))


def fitness(
    experts: Sequence[Expert], skills: Mapping[str, SkillCounts], chance: Mapping[str, float]
) -> NDArray[np.float64]:
    """(experts,) on the board."""
    pool = [Candidate(e.id, skills[e.id], e.generation, e.birth) for e in experts]
    families = sorted(set[str]().union(*(skills[expert.id] for expert in experts)))
    board = Board.of(pool, families, {f: c for f, c in chance.items() if f in families})
    by_name = dict(zip((c.id for c in board.candidates), board.fitness(), strict=True))
    return np.array([float(by_name[expert.id]) for expert in experts])


def row(name: str, found: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    """Of (draws, experts) fitness: mean correlation with the truth, and standard error."""
    correlations = [np.corrcoef(each, truth)[0, 1] for each in found]
    return {
        "name": name,
        "correlation": round(float(np.mean(correlations)), 4),
        "standard_error": round(float(found.std(axis=0).mean()), 4) if len(found) > 1 else None,
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        heading(report),
        f"{report['experts']} experts, {report['families']} families, up to "
        f"{report['instances']} fresh instances of each",
    ]
    for each in report["rows"]:
        error = each["standard_error"]
        spread = "" if error is None else f"  standard error {error:.3f}"
        lines.append(f"{each['name']:<24} correlation {each['correlation']:.3f}{spread}")
    return "\n".join(lines + goal_lines(report))


if __name__ == "__main__":
    run_as_command(main)
