"""What a lesson takes and what it gives: families that no seed expert solves are taught.

    python -m benchmarks.tutoring [--families 3] [--level 1] [--steps 20] [--instances N]
        [--learning-rate RATE] [--test 24] [--seed 0] [--json]

The offline scientist's catalogue is gone through in an order drawn from `--seed`, as plain families
at one level, until so many are found of which every seed expert, the base too, passes at most one
in eight fresh instances. Each is taught by itself, with the default settings of `breeding.tutor`
and computed references as labels, to the seed expert that passes most of all that was asked on the
way; nothing is replayed. Parent and taught expert then answer further instances, whose questions
are none of those before.

Goals: a lesson of 20 steps takes at most 180 s, and at least a third of the fresh instances are
right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.judge.extraction import extract
from agents.offline.author import name_of
from agents.offline.catalogue import CATALOGUE
from agents.offline.sketches import Sketch
from agents.settings import JudgeSettings
from benchmarks.ladder import Question, questions_of, render
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from console.run.config import cache_folder, resolve
from evolution.bank.bank import Bank
from evolution.engines import Broker
from evolution.engines.base import Ask
from evolution.engines.compute import device_of
from evolution.engines.encoding import Encoder, longest_context
from evolution.engines.pool.pool import Pool
from evolution.genome.genome import Genome
from evolution.planning.placement import reading_format
from evolution.population import Population
from evolution.tutoring.lesson import Lesson, learnt, teach
from evolution.tutoring.packing import Example
from evolution.tutoring.settings import TutorSettings
from memory.records import ChatMessage
from memory.threads import done_in_own_thread
from prompts import PromptLibrary

SOUGHT = 8
"""Instances on which it is seen whether a seed expert solves a family."""
SECONDS, SHARE = 180.0, 1 / 3
"""What a lesson may take, and what it is to give."""


@dataclass(frozen=True)
class Asking:
    """Experts that are asked as the judge asks them."""

    bank: Bank
    broker: Broker | Pool
    library: PromptLibrary

    async def passes(self, genome: Genome, questions: Sequence[Question]) -> list[bool]:
        prompts = [render(self.library, question.text) for question in questions]
        ask = Ask(prompts, JudgeSettings().sampling)
        replies = await self.broker.answer(self.bank.genome_id(genome), genome, ask)
        pairs = zip(questions, replies, strict=True)
        return [question.passes(extract(reply.text).answer) for question, reply in pairs]

    def example(self, question: Question) -> Example:
        encoder = Encoder(self.bank.tokenizer, longest_context(self.bank.config))
        chat: Sequence[ChatMessage] = render(self.library, question.text)
        text = f"Answer: {question.family.reference(question.task)}"
        tokens, count = encoder.encode_with(chat, text)
        return Example([*tokens, self.bank.tokenizer.eos_token_id], count + 1)


@dataclass(frozen=True)
class Family:
    """A family that nobody solves.

    Attributes:
        known: questions that were asked.
    """

    sketch: Sketch
    best: float
    known: frozenset[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--families", type=int, default=3)
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--instances", type=int, default=TutorSettings().instances)
    parser.add_argument("--learning-rate", type=float, default=TutorSettings().learning_rate)
    parser.add_argument("--test", type=int, default=24, help="fresh instances of each family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    config = resolve(options.config, ())
    population = Population(config.models, config.spectral, config.engine, cache_folder())
    bank = await population.bank()
    asking = Asking(bank, await population.broker(), PromptLibrary())
    seeds = {name: bank.seed_genome(name) for name in bank.seed_names}
    families, passed = await unsolved(asking, seeds, options)
    best = max(seeds, key=lambda name: passed[name])
    device = device_of(config.engine.device)
    compute = reading_format(bank, config.engine, device)
    rows = []
    for family in families:
        row = await taught(asking, seeds[best], family, options, device, compute)
        show_progress(f"{row['family']}: {row['before']:.2f} to {row['after']:.2f}")
        rows.append(row)
    await population.close()
    share = sum(row["after"] for row in rows) / len(rows)
    slowest = max(row["seconds"] for row in rows) * 20 / options.steps
    return {
        "bench": "tutoring",
        "machine": describe_machine(),
        "parent": best,
        "device": str(device),
        "compute": str(compute).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "steps": options.steps,
        "instances": options.instances,
        "learning_rate": options.learning_rate,
        "rows": rows,
        "goals": [
            {
                "name": "a lesson of 20 steps",
                "value": round(slowest, 1),
                "unit": "s",
                "goal": f"<= {SECONDS:.0f}",
                "met": slowest <= SECONDS,
            },
            {
                "name": "fresh instances that the taught expert solves",
                "value": round(share, 3),
                "unit": "share",
                "goal": f">= {SHARE:.2f}",
                "met": share >= SHARE,
            },
        ],
    }


async def unsolved(
    asking: Asking, seeds: dict[str, Genome], options: argparse.Namespace
) -> tuple[list[Family], dict[str, int]]:
    """Families that nobody solves, and what each seed passes of all that were gone through."""
    found: list[Family] = []
    passed = dict.fromkeys(seeds, 0)
    for place in np.random.default_rng(options.seed).permutation(len(CATALOGUE)):
        if len(found) == options.families:
            break
        sketch = Sketch((CATALOGUE[int(place)].generator,), "plain")
        questions = questions_of(sketch, options.level, SOUGHT, 1_000_003)
        here = {name: sum(await asking.passes(g, questions)) for name, g in seeds.items()}
        passed = {name: passed[name] + here[name] for name in seeds}
        show_progress(f"{name_of(sketch)}: {here} of {SOUGHT}")
        if max(here.values()) <= 1:
            known = frozenset(question.text for question in questions)
            family = Family(sketch, max(here.values()) / SOUGHT, known)
            if len(fresh(family, options)) < options.instances + options.test:
                show_progress(f"{name_of(sketch)} has too few questions, and is left out")
            else:
                found.append(family)
    if not found:
        raise SystemExit("every family of the catalogue is solved at this level")
    return found, passed


def fresh(family: Family, options: argparse.Namespace) -> list[Question]:
    """Questions of a family that are different from each other and from what was asked."""
    drawn = questions_of(family.sketch, options.level, 4 * (options.instances + options.test), 7)
    return list({each.text: each for each in drawn if each.text not in family.known}.values())


async def taught(
    asking: Asking,
    parent: Genome,
    family: Family,
    options: argparse.Namespace,
    device: torch.device,
    compute: torch.dtype,
) -> dict[str, Any]:
    """What the parent and the taught expert pass of fresh instances."""
    questions = fresh(family, options)
    lesson_on = questions[: options.instances]
    tested = questions[options.instances : options.instances + options.test]
    name = name_of(family.sketch)
    examples = [asking.example(each) for each in lesson_on]
    began, used = time.perf_counter(), time.process_time()
    lesson = await done_in_own_thread(
        lambda: _lesson(asking.bank, name, parent, examples, options, device, compute)
    )
    seconds, used = time.perf_counter() - began, time.process_time() - used
    asking.bank.append(lesson.anchor)
    child = learnt(asking.bank, parent, lesson.anchor)
    before, after = [await asking.passes(each, tested) for each in (parent, child)]
    return {
        "family": f"{name}, level {options.level}",
        "best_seed": family.best,
        "examples": len(examples),
        "tested": len(tested),
        "before": round(float(np.mean(before)), 3),
        "after": round(float(np.mean(after)), 3),
        "losses": [round(lesson.losses[0], 3), round(lesson.losses[-1], 3)],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
    }


def _lesson(
    bank: Bank,
    name: str,
    parent: Genome,
    examples: Sequence[Example],
    options: argparse.Namespace,
    device: torch.device,
    compute: torch.dtype,
) -> Lesson:
    steps, seed = options.steps, options.seed
    settings = TutorSettings(learning_rate=options.learning_rate)
    return teach(name, bank, parent, examples, [], settings, steps, seed, device, compute)


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{heading(report)}; {report['threads']} threads, {report['compute']} on "
        f"{report['device']}; {report['parent']} is taught in {report['steps']} steps, rate "
        f"{report['learning_rate']:g}",
        f"{'family':<44} {'best seed':>9} {'examples':>8} {'before':>6} {'after':>6} {'s':>6} "
        f"{'CPU s':>6} loss",
    ]
    for row in report["rows"]:
        first, last = row["losses"]
        lines.append(
            f"{row['family']:<44} {row['best_seed']:>9.2f} {row['examples']:>8} "
            f"{row['before']:>6.2f} {row['after']:>6.2f} {row['seconds']:>6.1f} "
            f"{row['cpu_seconds']:>6.1f} "
            f"{first:.2f} to {last:.2f}"
        )
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
