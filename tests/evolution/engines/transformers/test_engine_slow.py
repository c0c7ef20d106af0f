"""The transformers engine with the real small model of the quickstart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.base import Ask
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers.engine import TransformersEngine
from evolution.genome.genome import Genome
from memory.records import ChatMessage, Sampling

pytestmark = pytest.mark.slow

SETTINGS = EngineSettings(device="cpu", rows=16)
SHORT = Sampling(max_tokens=6)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    cache = tmp_path_factory.mktemp("cache")
    return load_bank(ModelSettings(seeds=()), SpectralSettings(rank=2), cache)


def questions(count: int) -> list[list[ChatMessage]]:
    numbers = random.Random(0)
    system = ChatMessage(
        role="system",
        content="Solve the task. You may reason first. End with one line: Answer: <your answer>",
    )
    chats = []
    for index in range(count):
        terms = " + ".join(str(numbers.randint(1, 999)) for _ in range(numbers.randint(2, 20)))
        chats.append([system, ChatMessage(role="user", content=f"Question {index}: {terms} = ?")])
    return chats


async def texts(
    engine: TransformersEngine, genome: Genome, prompts: Sequence[Sequence[ChatMessage]]
) -> list[str]:
    async with engine.lease(genome) as lease:
        return [reply.text for reply in await lease.answer(Ask(prompts, SHORT))]


async def test_companions_order_and_swaps_do_not_matter(bank: Bank) -> None:
    """In bfloat16, where rounding decides between close tokens as soon as arithmetic differs."""
    engine = TransformersEngine(bank, SETTINGS)
    prompts, base = questions(40), bank.base_genome()
    together = await texts(engine, base, prompts)
    assert len(set(together)) > 15
    order = list(range(40))
    random.Random(1).shuffle(order)
    shuffled = await texts(engine, base, [prompts[i] for i in order])
    assert shuffled == [together[i] for i in order]
    some = order[:11]
    assert await texts(engine, base, [prompts[i] for i in some]) == [together[i] for i in some]
    name = next(iter(bank.bases))
    other = Genome(base.coefficients, {name: np.full(2, 50.0, np.float32)})
    assert await texts(engine, other, prompts[:8]) != together[:8]
    assert [(await texts(engine, base, [prompt]))[0] for prompt in prompts] == together
    await engine.close()


async def test_it_speaks_and_ends(bank: Bank, tmp_path: Path) -> None:
    engine = TransformersEngine(bank, SETTINGS)
    question = ChatMessage(role="user", content="What is the capital of France?")
    async with engine.lease(bank.base_genome()) as lease:
        [reply] = await lease.answer(Ask([[question]], Sampling(max_tokens=24), logprobs=True))
    assert "Paris" in reply.text
    assert "<|im_end|>" not in reply.text
    assert reply.finish_reason == "stop"
    assert reply.logprob is not None
    assert -1.0 < reply.logprob < 0.0
    await engine.close()
