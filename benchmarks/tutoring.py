"""What a lesson takes, what it gives, and what is forgotten for it.

    python -m benchmarks.tutoring [--run RUN [--expert ID]] [--lessons 2] [--solved LOW HIGH]
        [--level 1] [--steps 20] [--families N] [--instances N] [--learning-rate RATE] [--batch N]
        [--replay SHARE] [--test 24] [--seed 0] [--json]

The offline scientist's catalogue is gone through in an order drawn from `--seed`, as plain families
at one level, until there are enough of which the pupil passes a share of fresh instances from LOW
to HIGH: by default at most one in eight, so that nobody solves them. The pupil is the best seed, or
an expert of a run. It learns `--families` of them at a time, with the defaults of `breeding.tutor`,
computed references as labels, and for replay what it passes of the other families gone through.
Pupil and taught expert then answer further instances of what was taught, and of those others of
which the pupil passes a quarter at least; no question is asked twice.

Goals: a lesson of 20 steps takes at most 180 s, and at least a third of the fresh instances of what
nobody solved are right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.config import RunConfig
from agents.judge.extraction import extract
from agents.offline.author import name_of
from agents.offline.catalogue import CATALOGUE
from agents.offline.sketches import Sketch
from agents.progress import silent
from agents.settings import JudgeSettings
from benchmarks.ladder import Question, questions_of, render
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, run_as_command, show_progress
from console.run.config import cache_folder, resolve
from console.run.folder import RunFolder
from console.run.reading import open_reading
from evolution.bank.bank import Bank
from evolution.engines import Broker
from evolution.engines.base import Ask
from evolution.engines.compute import device_of
from evolution.engines.encoding import Encoder, longest_context
from evolution.engines.pool.pool import Pool
from evolution.genome.genome import Genome
from evolution.planning.placement import reading_format
from evolution.population import Population
from evolution.tutoring.lesson import learnt, teach
from evolution.tutoring.packing import Example
from evolution.tutoring.settings import TutorSettings
from memory.records import ChatMessage
from memory.threads import done_in_own_thread
from prompts import PromptLibrary

SOUGHT = 8
"""Instances on which it is seen whether a seed expert solves a family."""
KNOWN = 0.25
"""Share of a family's instances from which on there is something to forget."""
REPLAYED = 16
"""Instances of each other family that may be replayed."""
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
    """A family of the catalogue, and what the pupil passes of it.

    Attributes:
        sketch: of the family.
        rate: share of the instances that the pupil passes.
        lesson: questions to learn, or to replay.
        test: other questions.
    """

    sketch: Sketch
    rate: float
    lesson: Sequence[Question]
    test: Sequence[Question]


def main() -> int:
    defaults = TutorSettings()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--run", type=Path, help="whose experts may be taught; the seeds else")
    parser.add_argument("--expert", help="of the run; its best seed else")
    parser.add_argument("--lessons", type=int, default=2)
    parser.add_argument("--solved", type=float, nargs=2, default=(0.0, 0.125))
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--families", type=int, help="of a lesson; as in a run else")
    parser.add_argument("--instances", type=int, default=defaults.instances)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--replay", type=float, default=defaults.replay)
    parser.add_argument("--test", type=int, default=24, help="fresh instances of each family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.families = options.families or defaults.most_families(options.steps)
    if options.expert and not options.run:
        parser.error("--expert needs --run")
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.run:
        folder = RunFolder(options.run)
        async with open_reading(folder, folder.config(), silent) as context:
            expert = options.expert and context.genome(context.store.expert(options.expert))
            return await _measured(context.population, context.config, expert, options)
    config = resolve(options.config, ())
    population = Population(config.models, config.spectral, config.engine, cache_folder())
    try:
        return await _measured(population, config, None, options)
    finally:
        await population.close()


async def _measured(
    population: Population,
    config: RunConfig,
    expert: Genome | None,
    options: argparse.Namespace,
) -> dict[str, Any]:
    bank = await population.bank()
    asking = Asking(bank, await population.broker(), PromptLibrary())
    pupil = expert or await best_seed(asking, options)
    device = device_of(config.engine.device)
    compute = reading_format(bank, config.engine, device)
    chosen, others = await gone_through(asking, pupil, options)
    rows = []
    for start in range(0, len(chosen), options.families):
        families = chosen[start : start + options.families]
        row = await taught(asking, pupil, families, others, options, device, compute)
        show_progress(str(row))
        rows.append(row)
    low, high = options.solved
    slowest = max(row["seconds"] for row in rows) * 20 / options.steps
    goals = [goal("a lesson of 20 steps", round(slowest, 1), "s", slowest <= SECONDS, SECONDS)]
    if low == 0.0:
        # Shares are rounded in the rows; counts are not.
        right = sum(round(row["after"] * row["tested"]) for row in rows)
        share = right / sum(row["tested"] for row in rows)
        name = "fresh instances that the taught expert solves, of families that nobody solved"
        goals.append(goal(name, round(share, 3), "share", share >= SHARE, SHARE))
    return {
        "bench": "tutoring",
        "machine": describe_machine(),
        "pupil": options.expert or "the best seed",
        "device": str(device),
        "compute": str(compute).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "steps": options.steps,
        "batch": options.batch,
        "instances": options.instances,
        "learning_rate": options.learning_rate,
        "solved": [low, high],
        "rows": rows,
        "goals": goals,
    }


def goal(name: str, value: float, unit: str, met: bool, limit: float) -> dict[str, Any]:
    sign = "<=" if unit == "s" else ">="
    return {"name": name, "value": value, "unit": unit, "goal": f"{sign} {limit:.3g}", "met": met}


def in_order(options: argparse.Namespace) -> list[Sketch]:
    order = np.random.default_rng(options.seed).permutation(len(CATALOGUE))
    return [Sketch((CATALOGUE[int(place)].generator,), "plain") for place in order]


async def best_seed(asking: Asking, options: argparse.Namespace) -> Genome:
    """Of those that differ from the base, who passes most of the first families."""
    bank = asking.bank
    seeds = {name: bank.seed_genome(name) for name in bank.seed_names if name != bank.base_name}
    questions = [
        question
        for sketch in in_order(options)[:SOUGHT]
        for question in questions_of(sketch, options.level, SOUGHT, 1_000_003)
    ]
    passed = {name: sum(await asking.passes(genome, questions)) for name, genome in seeds.items()}
    show_progress(f"passed of {len(questions)}: {passed}")
    return seeds[max(passed, key=lambda name: passed[name])]


async def gone_through(
    asking: Asking, pupil: Genome, options: argparse.Namespace
) -> tuple[list[Family], list[Family]]:
    """Families to teach, and others of which the pupil passes a quarter at least.

    Raises:
        SystemExit: none is to be taught.
    """
    chosen, others = list[Family](), list[Family]()
    low, high = options.solved
    for sketch in in_order(options):
        if len(chosen) == options.lessons * options.families:
            break
        sought = questions_of(sketch, options.level, SOUGHT, 1_000_003)
        rate = sum(await asking.passes(pupil, sought)) / len(sought)
        name, known = name_of(sketch), {question.text for question in sought}
        show_progress(f"{name}: {rate:.2f}")
        wanted = options.instances + options.test
        drawn = questions_of(sketch, options.level, 4 * wanted, 7)
        fresh = list({each.text: each for each in drawn if each.text not in known}.values())
        family = Family(sketch, rate, fresh[options.test : wanted], fresh[: options.test])
        if low <= rate <= high and len(fresh) >= wanted:
            chosen.append(family)
        elif rate >= KNOWN:
            others.append(family)
    if not chosen:
        raise SystemExit("of no family of the catalogue does the pupil pass so much at this level")
    return chosen, others


async def taught(
    asking: Asking,
    pupil: Genome,
    families: Sequence[Family],
    others: Sequence[Family],
    options: argparse.Namespace,
    device: torch.device,
    compute: torch.dtype,
) -> dict[str, Any]:
    """What pupil and taught expert pass of what was taught and of the others, fresh instances."""
    names = ", ".join(name_of(family.sketch) for family in families)
    examples = [asking.example(each) for family in families for each in family.lesson]
    replay = [
        asking.example(question)
        for family in others
        for question, passed in zip(
            family.lesson[:REPLAYED],
            await asking.passes(pupil, family.lesson[:REPLAYED]),
            strict=True,
        )
        if passed
    ]
    settings = TutorSettings(
        learning_rate=options.learning_rate, batch=options.batch, replay=options.replay
    )
    began, used = time.perf_counter(), time.process_time()
    lesson = await done_in_own_thread(
        lambda: teach(
            f"taught {names}",
            asking.bank,
            pupil,
            examples,
            replay,
            settings,
            options.steps,
            options.seed,
            device,
            compute,
        )
    )
    seconds, used = time.perf_counter() - began, time.process_time() - used
    asking.bank.append(lesson.anchor)
    child = learnt(asking.bank, pupil, lesson.anchor)
    shares = {}
    for what, tested in (("", families), ("others_", others)):
        questions = [question for family in tested for question in family.test]
        for when, genome in (("before", pupil), ("after", child)):
            passes = await asking.passes(genome, questions) if questions else [False]
            shares[what + when] = round(float(np.mean(passes)), 3)
    return {
        "families": names,
        "examples": len(examples),
        "tested": sum(len(family.test) for family in families),
        "others_tested": sum(len(family.test) for family in others),
        **shares,
        "losses": [round(lesson.losses[0], 3), round(lesson.losses[-1], 3)],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
    }


def table(report: dict[str, Any]) -> str:
    low, high = report["solved"]
    lines = [
        f"{heading(report)}; {report['threads']} threads, {report['compute']} on "
        f"{report['device']}; {report['pupil']} is taught in {report['steps']} steps of "
        f"{report['batch']} examples, rate {report['learning_rate']:g}, what it passes "
        f"{low:.2f} to {high:.2f} of",
        "",
        "| families | examples | before | after | others before | after | s | CPU s | loss |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        first, last = row["losses"]
        lines.append(
            f"| {row['families']} | {row['examples']} | {row['before']:.2f} | {row['after']:.2f} | "
            f"{row['others_before']:.2f} | {row['others_after']:.2f} | {row['seconds']:.0f} | "
            f"{row['cpu_seconds']:.0f} | {first:.2f} to {last:.2f} |"
        )
    return "\n".join([*lines, "", *goal_lines(report)])


if __name__ == "__main__":
    run_as_command(main)
