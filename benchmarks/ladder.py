"""Which rungs of the offline catalogue can the seed experts climb?

    python -m benchmarks.ladder [--levels 1 2] [--forms plain] [--instances 10] [--all] [--json]

Every seed answers fresh instances of every generator of the offline scientist's catalogue, level by
level, as a judge would ask it. A ladder whose first rung no expert climbs gives a pool without a
signal; one whose last rung everybody climbs has no headroom. Also printed: answers per second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from agents.judge.extraction import extract
from agents.offline.answer_kinds import same_answer
from agents.offline.author import name_of, stream
from agents.offline.catalogue import CATALOGUE, WITHIN_REACH
from agents.offline.entries import Entry
from agents.offline.sketches import Instance, Sketch, is_brief
from agents.settings import JudgeSettings
from benchmarks.machine import describe_machine
from console.run.config import cache_folder, resolve
from evolution.engines.base import Ask
from evolution.population import Population
from memory.records import ChatMessage
from prompts import PromptLibrary

FORMS = ("plain", "shown", "reworded", "extended")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--forms", nargs="+", default=["plain"], choices=FORMS)
    parser.add_argument("--all", action="store_true", help="what is beyond small models, too")
    parser.add_argument("--instances", type=int, default=10, help="of each rung")
    parser.add_argument("--seed", type=int, default=1_000_003, help="of the instances")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    config = resolve(options.config, ())
    population = Population(config.models, config.spectral, config.engine, cache_folder())
    rungs = [
        Sketch((entry.generator,), level, form, options.seed, own_scorer=True, wording=wording)
        for level in options.levels
        for form in options.forms
        for entry in (CATALOGUE if options.all else WITHIN_REACH)
        for wording in range(len(entry.wordings) if form == "reworded" else 1)
        if form != "shown" or is_brief(entry.generator)
    ]
    questions = [
        (rung, instance)
        for rung in rungs
        for instance in itertools.islice(stream(rung), options.instances)
    ]
    library = PromptLibrary()
    prompts = [render(library, instance) for _, instance in questions]
    bank = await population.bank()
    broker = await population.broker()
    passed: dict[str, dict[Sketch, list[bool]]] = {}
    begun = time.perf_counter()
    seeds = [name for name in bank.seed_names if name != bank.base_name]
    for name in seeds:
        genome = bank.seed_genome(name)
        sampling = JudgeSettings().sampling
        replies = await broker.answer(bank.genome_id(genome), genome, Ask(prompts, sampling))
        of_seed: dict[Sketch, list[bool]] = {}
        for (rung, instance), reply in zip(questions, replies, strict=True):
            of_seed.setdefault(rung, []).append(is_right(rung.entries[0], reply.text, instance))
        passed[name] = of_seed
        print(f"{name}: {len(replies)} answers", file=sys.stderr)
    seconds = time.perf_counter() - begun
    await population.close()
    return {
        "bench": "ladder",
        "machine": describe_machine(),
        "answers_per_second": round(len(prompts) * len(passed) / seconds, 1),
        "rows": [
            {"generator": rung.generators[0], "name": name_of(rung)}
            | {name: share(passed[name][rung]) for name in seeds}
            for rung in dict.fromkeys(rung for rung, _ in questions)
        ],
        "goals": [],
    }


def render(library: PromptLibrary, instance: Instance) -> list[ChatMessage]:
    rendered = library.render("answer", instructions=instance.question)
    return [ChatMessage(role=role, content=content) for role, content in rendered.messages]


def is_right(entry: Entry, reply: str, instance: Instance) -> bool:
    return same_answer(entry.kind, extract(reply).answer, instance.answer)


def share(passes: list[bool]) -> float:
    return round(sum(passes) / len(passes), 2)


def table(report: dict[str, Any]) -> str:
    seeds = [key for key in report["rows"][0] if key not in ("generator", "name")]
    lines = [f"{'family':<80}" + "  ".join(f"{name:>8}" for name in seeds)]
    for row in sorted(report["rows"], key=lambda r: (r["generator"], r["name"])):
        lines.append(f"{row['name']:<80}" + "  ".join(f"{row[name]:8.2f}" for name in seeds))
    return "\n".join([*lines, f"{report['answers_per_second']} answers/s"])


if __name__ == "__main__":
    sys.exit(main())
