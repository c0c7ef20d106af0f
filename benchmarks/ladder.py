"""Which rungs of the offline catalogue can the seed experts climb?

    python -m benchmarks.ladder [--levels 1 2] [--forms plain] [--instances 10] [--all] [--json]

Every seed answers fresh instances of every generator of the offline scientist's catalogue, level by
level, as a judge would ask it. A ladder whose first level no expert manages gives a pool without a
signal; one whose last level everybody manages has no headroom. Also printed: answers per second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.judge.extraction import extract
from agents.offline.author import name_of, write
from agents.offline.catalogue import CATALOGUE, WITHIN_REACH
from agents.offline.entries import Entry
from agents.offline.sketches import Form, Sketch
from agents.settings import JudgeSettings
from benchmarks.machine import describe_machine
from console.run.config import cache_folder, resolve
from evolution.engines.base import Ask
from evolution.population import Population
from memory.records import ChatMessage
from prompts import PromptLibrary

Rung = tuple[Sketch, int]
FORMS: tuple[Form, ...] = ("plain", "shown", "reworded", "extended")


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
        (sketch, level)
        for level in options.levels
        for form in options.forms
        for entry in (CATALOGUE if options.all else WITHIN_REACH)
        for sketch in sketches_of(entry, form)
    ]
    questions = [
        (rung, question)
        for rung in rungs
        for question in questions_of(*rung, options.instances, options.seed)
    ]
    library = PromptLibrary()
    prompts = [render(library, question.text) for _, question in questions]
    bank = await population.bank()
    broker = await population.broker()
    passed: dict[str, dict[Rung, list[bool]]] = {}
    begun = time.perf_counter()
    seeds = [name for name in bank.seed_names if name != bank.base_name]
    for name in seeds:
        genome = bank.seed_genome(name)
        sampling = JudgeSettings().sampling
        replies = await broker.answer(bank.genome_id(genome), genome, Ask(prompts, sampling))
        of_seed: dict[Rung, list[bool]] = {}
        for (rung, question), reply in zip(questions, replies, strict=True):
            of_seed.setdefault(rung, []).append(question.passes(extract(reply.text).answer))
        passed[name] = of_seed
        print(f"{name}: {len(replies)} answers", file=sys.stderr)
    seconds = time.perf_counter() - begun
    await population.close()
    return {
        "bench": "ladder",
        "machine": describe_machine(),
        "answers_per_second": round(len(prompts) * len(passed) / seconds, 1),
        "rows": [
            {"generator": rung[0].generators[0], "name": f"{name_of(rung[0])}, level {rung[1]}"}
            | {name: share(passed[name][rung]) for name in seeds}
            for rung in dict.fromkeys(rung for rung, _ in questions)
        ],
        "goals": [],
    }


def sketches_of(entry: Entry, form: Form) -> list[Sketch]:
    """All that a generator has in a form."""
    if (form == "shown" and not entry.brief) or (form == "extended" and not entry.whole):
        return []
    wordings = range(len(entry.wordings) if form == "reworded" else 1)
    return [Sketch((entry.generator,), form, wording=wording) for wording in wordings]


@dataclass(frozen=True)
class Question:
    """One instance of a family, with the family to grade the answer."""

    family: Any
    task: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.family.get_instructions(self.task))

    def passes(self, answer: str) -> bool:
        return bool(self.family.score(self.task, answer) == 1)


def questions_of(sketch: Sketch, level: int, count: int, seed: int) -> list[Question]:
    """So many instances of what is written from a sketch, drawn in this process."""
    names: dict[str, Any] = {}
    exec(compile(str(write(sketch)["code"]), "task.py", "exec"), names)
    family, found = names["TaskFamily"], list[Question]()
    for draw in itertools.count(seed):
        tasks = family.get_tasks(seed=draw, level=level).values()
        found += [Question(family, task) for task in tasks]
        if len(found) >= count:
            break
    return found[:count]


def render(library: PromptLibrary, question: str) -> list[ChatMessage]:
    rendered = library.render("answer", instructions=question)
    return [ChatMessage(role=role, content=content) for role, content in rendered.messages]


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
