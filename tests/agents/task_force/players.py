"""A run that stands before its finals: experts who know some families, and a sandbox by a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from agents.config import RunConfig
from agents.context import RunContext
from agents.sandbox import Fault, Score, Submission
from evolution.engines.base import Ask
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.records import ArchiveEntry, Expert, Family, Reply, Skill
from memory.store import RunStore
from tests.agents.cases import ScriptedSandbox, family, generative, run_context

OPERATORS = {
    "base": "base",
    "seed": "seed",
    "merge": "regmean",
    "bred": "linear",
    "weak": "linear",
    "babble": "linear",
}
KNOWN = {"base": "", "seed": "0", "merge": "03", "bred": "12", "weak": "", "babble": "0123"}
"""Expert -> numbers of the families that it solves greedily; f3 is closed."""
HALF = {"seed": "12", "weak": "3"}
"""Expert -> families that it solves in every other sampled answer."""


class Interrupted(Exception):
    """The run ends here."""


@dataclass
class Players:
    """Answers by who knows what.

    Attributes:
        asked: (genome, temperature, question, seed) of everything that was asked.
        silent: genomes that cannot answer now.
        ill: genomes for which the engine fails, so many times.
    """

    profile: str = "{}"
    asked: list[tuple[str, float, str, int]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    ill: Counter[str] = field(default_factory=Counter)

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        if genome_id in self.silent:
            raise Interrupted
        if self.ill[genome_id] > 0:
            self.ill[genome_id] -= 1
            raise EngineError("out of memory")
        temperature = ask.sampling.temperature
        seeds = ask.seeds or [0] * len(ask.prompts)
        replies = []
        for prompt, seed in zip(ask.prompts, seeds, strict=True):
            text = prompt[-1].content
            number = text.partition("of family ")[2][:1]
            right = number in KNOWN[genome_id]
            if temperature and number in HALF.get(genome_id, ""):
                mine = [a for a in self.asked if a[:3] == (genome_id, temperature, text)]
                right = len(mine) % 2 == 0
            self.asked.append((genome_id, temperature, text, seed))
            replies.append(self._reply("Answer: right" if right else "Answer: wrong"))
        return replies

    def _reply(self, text: str) -> Reply:
        return Reply(text=text, tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)


class NamingSandbox(ScriptedSandbox):
    """Draws questions that name their family, and breaks on those of some codes."""

    broken: frozenset[str] = frozenset()

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        if code in self.broken:
            return [Score(None, Fault("crash", "KeyError")) for _ in submissions]
        return await super().score(code, submissions)

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        return None if code in self.broken else await super().score_together(code, submissions)

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Any:
        drawn = await super().draw(code, seeds, level)
        number = code.rpartition("# ")[2][:1]
        texts = {key: f"{text} of family {number}" for key, text in drawn.instructions.items()}
        return SimpleNamespace(instructions=texts, references=drawn.references, wrong=drawn.wrong)


def families() -> list[Family]:
    """Three generative families and a closed one."""
    closed = family(3).model_copy(
        update={"instructions": {"1": "first of family 3", "2": "second of family 3"}}
    )
    return [generative(0), generative(1), generative(2), closed]


@contextmanager
def before_finals(folder: Path, config: Mapping[str, Any] | None = None) -> Iterator[RunContext]:
    """A run of which everybody was judged, and whose archive holds the merge and two bred ones."""
    players, genome = Players(), Genome(np.zeros((1, 1), np.float32))

    async def opened() -> Players:
        return players

    population: Any = SimpleNamespace(broker=opened, decode=lambda *_: genome)
    with RunStore.open(folder) as store:
        for each in families():
            store.put_family(each)
        for birth, (name, operator) in enumerate(OPERATORS.items()):
            store.put_genome(name, genome.to_bytes() + name.encode())
            store.put_expert(
                Expert(
                    id=name,
                    genome_id=name,
                    generation=int(operator == "linear"),
                    birth=birth,
                    operator=operator,
                )
            )
            for number in range(4):
                passes = 4 * (str(number) in KNOWN[name])
                store.set_skill(name, f"f{number}", Skill(passes=passes, asked=4), 0)
        entries = [
            ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
            for rank, name in enumerate(("weak", "merge", "bred"))
        ]
        store.put_archive(1, entries)
        settings = RunConfig.model_validate({"generations": 1, **(config or {})})
        sandbox = NamingSandbox({"right": Score(1.0)})
        yield run_context(store, settings, population=population, sandbox=sandbox)


async def players_of(run: RunContext) -> Players:
    """Who answers."""
    return await run.population.broker()  # type: ignore[return-value]
