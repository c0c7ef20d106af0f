"""A run whose experts, scientists and sandbox cost nothing: what is left is the run's own work.

Graph, store, checkpoints, spans, novelty memory, chat client, broker, breeding on a real bank of
two layers and selection are those of `acdc run`. Answers, programs and embeddings follow rules.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from agents.chat.client import ChatClient
from agents.config import RunConfig
from agents.context import RunContext
from agents.offline import prompt_blocks
from agents.progress import Progress
from agents.sandbox import Description, Inspection, Score, Submission
from evolution.bank.bank import Bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.base import Ask, Chat
from evolution.engines.held import HeldEngine
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.population import Population
from memory.novelty.embedding import Vectors
from memory.novelty.memory import NoveltyMemory
from memory.novelty.recorded import RecordedEmbedder
from memory.records import Reply, drawn
from memory.spans import tracing
from memory.store import RunStore
from prompts import PromptLibrary

SIZE = 384
"""Of an embedding, as MiniLM's."""
LEVELS = 5
RIGHT = 0.6
"""Share of its questions that an expert answers rightly at level 1."""
PADDING = "    # one more line of a program, as long as those that scientists write\n" * 30
_NUMBERS = re.compile(r"add (\d+) and (\d+) at level (\d+)")
_FAMILY = re.compile(r"# family (\d+)\b")


class RuleEngine(HeldEngine):
    """Answers at once; whether rightly depends on expert and question."""

    @property
    def profile(self) -> str:
        return '{"engine": "rule"}'

    def _swap(self, genome: Genome) -> None:
        pass

    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        return [self._reply(prompt[-1].content) for prompt in ask.prompts]

    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        return [[-1.0] for _ in prompts]

    def _reply(self, question: str) -> Reply:
        found = _NUMBERS.search(question)
        assert found is not None, question
        first, second, level = map(int, found.groups())
        luck = _share(f"{self._loaded} {question}")
        right = luck < RIGHT / level
        text = f"I add the two numbers.\nAnswer: {first + second + (not right)}"
        return Reply(text=text, tokens_in=60, tokens_out=12, finish_reason="stop", seconds=0.01)


class RuleSandbox:
    """Families that ask for the sum of two numbers; no program is run."""

    isolated = True

    async def inspect(self, code: str, seeds: Sequence[int] = (0,)) -> Inspection:
        said = _description(code, seeds, range(1, LEVELS + 1))
        return Inspection(said, said)

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        return _description(code, seeds, [level])

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        return [Score(float(each.text == _sum(code, each.instance))) for each in submissions]

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        return [float(each.text == _sum(code, each.instance)) for each in submissions]

    async def close(self) -> None:
        pass


class RuleScientist(httpx.AsyncBaseTransport):
    """Proposes a new family for each assignment, and finds nothing wrong with it as a critic."""

    def __init__(self, first: int = 0) -> None:
        self._numbers = itertools.count(first)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        asked = [each["content"] for each in body["messages"] if each["role"] == "user"]
        shown = prompt_blocks.blocks(asked[0])
        reply: Any
        if prompt_blocks.DRAFT in shown:
            reply = {"verdict": "accept", "problems": []}
        elif prompt_blocks.CANDIDATE in shown:
            reply = {"new": True, "reason": "another sum"}
        else:
            reply = _proposal(next(self._numbers))
        text = json.dumps(reply)
        message = {"role": "assistant", "content": text}
        used = {"prompt_tokens": 4000, "completion_tokens": 700, "total_tokens": 4700}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        content = {"id": "rule", "object": "chat.completion", "created": 0, "model": "rule"}
        return httpx.Response(200, json={**content, "choices": [choice], "usage": used})


class HashedEmbedder:
    """Unit vectors that texts are hashed to: no two are alike."""

    name = "hashed"

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [np.random.default_rng(_number(text)).standard_normal(SIZE) for text in texts]
        found = np.array(rows, np.float32).reshape(len(texts), SIZE)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return found


@asynccontextmanager
async def rule_run(
    folder: Path, config: RunConfig, progress: Progress
) -> AsyncIterator[RunContext]:
    """Open a run folder as `console.run.opening` does, with services that follow rules."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(RunStore.open(folder))
        stack.enter_context(tracing(store.path))
        prompts = PromptLibrary()
        embedder = RecordedEmbedder(HashedEmbedder(), store)
        novelty = stack.enter_context(
            NoveltyMemory.open(folder, embedder, run_id=store.run_id(), key=b"growth")
        )
        transport = RuleScientist(len(store.assignments()))
        chat = ChatClient(config.endpoints, store, prompts, transport=transport)
        stack.push_async_callback(chat.close)
        population = _population(config.models, config.engine, folder.parent / "cache")
        stack.push_async_callback(population.close)
        novelty.reconcile(store.families())
        yield RunContext(
            folder=folder,
            config=config,
            store=store,
            novelty=novelty,
            chat=chat,
            prompts=prompts,
            sandbox=RuleSandbox(),
            population=population,
            progress=progress,
        )


def _population(models: ModelSettings, engine: EngineSettings, cache: Path) -> Population:
    def opened(bank: Bank, settings: EngineSettings) -> RuleEngine:
        return RuleEngine(bank)

    return Population(models, SpectralSettings(rank=4), engine, cache, opened)


def _proposal(number: int) -> Mapping[str, Any]:
    return {
        "name": f"sums of kind {number}",
        "description": f"Adds two numbers, in the way of kind {number}.",
        "capability": f"adding numbers of kind {number}",
        "difficulty": 1,
        "code": f"class TaskFamily:  # family {number}\n    levels = {LEVELS}\n{PADDING}",
    }


def _description(code: str, seeds: Sequence[int], levels: Sequence[int]) -> Description:
    names = [drawn(n, level, seed) for level in levels for seed in seeds for n in ("1", "2")]
    sums = {name: _sum(code, name) for name in names}
    return Description(
        levels=LEVELS,
        tasks=dict(sums),
        instructions={name: _question(code, name) for name in names},
        references=sums,
        wrong={name: [str(int(right) + 1), str(int(right) - 7)] for name, right in sums.items()},
    )


def _terms(code: str, instance: str) -> tuple[int, int]:
    found = _FAMILY.search(code)
    # The example programs of the prompts have no number.
    kind = int(found[1]) if found else _number(code) % 1000
    return _number(f"{kind} {instance}") % 9000 + 1000, kind + 11


def _sum(code: str, instance: str) -> str:
    return str(sum(_terms(code, instance)))


def _question(code: str, instance: str) -> str:
    first, second = _terms(code, instance)
    level = instance.partition("@")[2].partition(".")[0]
    return (
        f"In the way of this family, add {first} and {second} at level {level}. End with 'Answer: "
        "<number>', where <number> is the sum of both."
    )


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def _share(text: str) -> float:
    return _number(text) / 2**48
