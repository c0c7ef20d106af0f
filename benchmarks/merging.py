"""What one merged expert can do: ways to merge the three seeds, on the same fresh questions.

    python -m benchmarks.merging [--each 8] [--texts 16] [--only NAME ...] [--json]

Each seed answers calibration questions of all generators that the seeds were trained on; what it
passes, with its own replies, is what RegMean knows of it, as in a run. All merges then answer other
questions, `--each` of each generator, greedily. Printed: accuracy at the three domains, seconds of
the merge, and of a plain pass of its texts through the seeds' layers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.judge.extraction import extract
from benchmarks.machine import describe_machine
from console.run.config import cache_folder
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.breeding.breed import breed
from evolution.breeding.settings import BreedingSettings
from evolution.engines import Broker, open_engine
from evolution.engines.base import Ask
from evolution.engines.encoding import Encoder, longest_context
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.merging.layerwise import LayerwiseModel
from evolution.merging.merges import merge_experts
from evolution.merging.regmean import Member, merge_by_regmean, unit
from evolution.merging.settings import RegMeanSettings
from memory.records import ChatMessage, Sampling
from memory.threads import done_in_own_thread
from prompts import PromptLibrary
from seeds.domains import DOMAINS, GENERATORS, PASS_SCORE, Generator
from seeds.questions import HELD_OUT_SEED, Question, question

CALIBRATION_SEED = 777_000_000
"""Neither of the training nor of what is measured."""

MAX_TOKENS = 32


@dataclass(frozen=True)
class Answered:
    question: Question
    chat: Sequence[ChatMessage]
    reply: str
    passed: bool


class Bench:
    """Experts that answer questions."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.broker = Broker(open_engine(bank, EngineSettings()))
        self.prompts = PromptLibrary()
        self.encoder = Encoder(bank.tokenizer, longest_context(bank.config))

    async def ask(self, genome: Genome, questions: Sequence[Question]) -> list[Answered]:
        chats = [self._chat(each.text) for each in questions]
        ask = Ask(chats, Sampling(temperature=0.0, max_tokens=MAX_TOKENS))
        replies = await self.broker.answer(self.bank.genome_id(genome), genome, ask)
        return [
            Answered(q, chat, reply.text, q.score(extract(reply.text).answer) >= PASS_SCORE)
            for q, chat, reply in zip(questions, chats, replies, strict=True)
        ]

    def _chat(self, text: str) -> list[ChatMessage]:
        rendered = self.prompts.render("answer", instructions=text)
        return [ChatMessage(role=role, content=content) for role, content in rendered.messages]

    def tokens(self, answered: Answered) -> list[int]:
        return self.encoder.encode_with(answered.chat, answered.reply)[0]


def questions(seed: int, each: int) -> dict[str, list[Question]]:
    """Domain -> questions, of the generators in turn."""

    def of(number: int, generator: Generator) -> list[Question]:
        dataset = generator.dataset(seed + 10_000 * number, each)
        return [question(generator, dataset, index) for index in range(each)]

    return {
        domain: [q for n, generator in enumerate(GENERATORS[domain]) for q in of(n, generator)]
        for domain in DOMAINS
    }


Merge = Callable[[], Genome]


def merges(
    bank: Bank, texts: Mapping[str, Sequence[Sequence[int]]], scratch: Path
) -> dict[str, Merge]:
    """Name -> makes the merge, of all seeds."""
    seeds = {name: bank.seed_genome(name) for name in texts}
    numbers = itertools.count()

    def arithmetic(weight: float) -> Merge:
        return lambda: bank.geometry.blend(
            list(seeds.values()), np.full((len(seeds), len(bank.blocks)), weight)
        )

    def by_mergekit(method: str, **parameters: Any) -> Merge:
        def made() -> Genome:
            name = f"{method}-{next(numbers)}"
            anchor = merge_experts(name, bank, seeds, method, parameters, 0, scratch)
            bank.append(anchor)
            return bank.seed_genome(name)

        return made

    def crossed(method: str) -> Merge:
        settings = BreedingSettings(crossovers={method: 1.0}, mutations={})
        return lambda: breed(bank, list(seeds.values())[:2], 0, settings).genome

    def regmean(scale: float = 1.0, weights: Sequence[float] = (1, 1, 1), **given: Any) -> Merge:
        def made() -> Genome:
            members = [
                Member(seeds[name], texts[name], weight)
                for name, weight in zip(seeds, weights, strict=True)
            ]
            name = f"regmean-{next(numbers)}"
            anchors = merge_by_regmean(name, bank, members, RegMeanSettings(**given))
            bank.append(*anchors)
            return unit(bank, anchors, scale)

        return made

    alone = {name: (lambda genome=genome: genome) for name, genome in seeds.items()}
    return {
        **alone,
        "mean": arithmetic(1 / len(seeds)),
        "task arithmetic 0.6": arithmetic(0.6),
        "task arithmetic 1.0": arithmetic(1.0),
        "slerp of the first two": crossed("slerp"),
        "TIES": by_mergekit("ties", weight=1.0, density=0.5),
        "DARE-TIES": by_mergekit("dare_ties", weight=1.0, density=0.5),
        "RegMean": regmean(),
        "RegMean x 1.2": regmean(1.2),
        "RegMean, shrink 1": regmean(1.2, shrink=1.0),
        "RegMean, shrink 0.5": regmean(1.2, shrink=0.5),
        "RegMean, shrink 0": regmean(1.2, shrink=0.0),
        "RegMean, ridge 0.1": regmean(1.2, ridge=0.1),
        "RegMean++": regmean(1.2, onward="merged"),
        **{
            f"RegMean, {name} x 3": regmean(1.2, [3.0 if name == other else 1.0 for other in seeds])
            for name in seeds
        },
    }


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    bank = load_bank(ModelSettings(), SpectralSettings(), cache_folder())
    bench = Bench(bank)
    pool = [q for asked in questions(CALIBRATION_SEED, options.calibrate).values() for q in asked]
    fresh = questions(HELD_OUT_SEED, options.each)
    texts: dict[str, list[list[int]]] = {}
    for name in bank.seed_names:
        if name != bank.base_name:
            answered = await bench.ask(bank.seed_genome(name), pool)
            passed = [each for each in answered if each.passed]
            rng = np.random.default_rng(0)
            kept = rng.permutation(len(passed))[: options.texts]
            texts[name] = [bench.tokens(passed[index]) for index in sorted(kept)]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        ways = merges(bank, texts, Path(scratch))
        for name, way in ways.items():
            if options.only and name not in options.only:
                continue
            begun = time.perf_counter()
            genome = await done_in_own_thread(way)
            seconds = time.perf_counter() - begun
            found = {domain: await bench.ask(genome, asked) for domain, asked in fresh.items()}
            accuracy = {
                domain: statistics.mean(each.passed for each in answered)
                for domain, answered in found.items()
            }
            row = {
                "name": name,
                **{domain: round(value, 3) for domain, value in accuracy.items()},
                "mean": round(statistics.mean(accuracy.values()), 3),
                "seconds": round(seconds, 2),
            }
            rows.append(row)
            if not options.json:
                print(line(row), flush=True)
    await bench.broker.close()
    return {
        "bench": "merging",
        "machine": describe_machine(),
        "texts": {name: len(of) for name, of in texts.items()},
        "tokens": {name: sum(map(len, of)) for name, of in texts.items()},
        "reading_seconds": round(await done_in_own_thread(lambda: reading_seconds(bank, texts)), 2),
        "rows": rows,
    }


def reading_seconds(bank: Bank, texts: Mapping[str, Sequence[Sequence[int]]]) -> float:
    """A plain forward pass of all texts, layer by layer, nothing kept."""
    model = LayerwiseModel(bank, bank.device, torch.float32)
    begun = time.perf_counter()
    readings = [model.begin(bank.seed_genome(name), of) for name, of in texts.items()]
    for layer in range(len(model)):
        for reading in readings:
            model.read(layer, reading)
        model.release(layer)
    return time.perf_counter() - begun


def line(row: Mapping[str, Any]) -> str:
    at = " ".join(f"{domain} {row[domain]:.2f}" for domain in DOMAINS)
    return f"{row['name']:<26} {at}  mean {row['mean']:.3f}  merged in {row['seconds']:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--each", type=int, default=8, help="fresh questions of each generator")
    parser.add_argument("--calibrate", type=int, default=8, help="likewise, for RegMean")
    parser.add_argument("--texts", type=int, default=16, help="passed ones that are read, per seed")
    parser.add_argument("--only", nargs="+", default=[], help="rows that are wanted")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print({key: report[key] for key in ("texts", "tokens", "reading_seconds")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
