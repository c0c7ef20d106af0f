"""The transformers engine: a reply depends on expert, prompt, sampling and seed only."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.engines.base import Ask
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers import packing
from evolution.engines.transformers.attention import use_plain_head
from evolution.engines.transformers.engine import TransformersEngine
from evolution.engines.transformers.packing import PackedLinear, can_pack
from evolution.errors import EngineError, GenomeError, PromptTooLongError
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise
from memory.records import ChatMessage, Reply, Sampling

SETTINGS = EngineSettings(device="cpu", rows=6, prefill_tokens=96)
GREEDY = Sampling(max_tokens=12)
WARM = Sampling(temperature=1.5, top_p=0.9, max_tokens=12)
WORDS = ["one", "two", "three", "seven", "eleven", "spell", "sort", "sum", "word", "yes", "no"]


@pytest.fixture(scope="module", params=["tiny_family", "tiny_qwen_family"])
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    family = request.getfixturevalue(request.param)
    seeds = tuple(SeedSettings(name=n, path=str(p)) for n, p in family.seeds.items())
    return load_bank(
        ModelSettings(base=str(family.base), seeds=seeds),
        SpectralSettings(rank=4),
        tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(params=["bfloat16", "float32"])
async def engine(bank: Bank, request: pytest.FixtureRequest) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(bank, SETTINGS.model_copy(update={"compute": request.param}))
    yield engine
    await engine.close()


def chat(question: str) -> list[ChatMessage]:
    system = "Solve the task. You may reason first. End with one line: Answer: <your final answer>"
    return [
        ChatMessage(role="system", content=system),
        ChatMessage(role="user", content=question),
    ]


def questions(count: int) -> list[list[ChatMessage]]:
    """Of very different lengths, some without a system message."""
    numbers = random.Random(0)
    chats = [chat(" ".join(numbers.choices(WORDS, k=numbers.randint(1, 60)))) for _ in range(count)]
    return [messages if i % 5 else messages[1:] for i, messages in enumerate(chats)]


async def ask(
    engine: TransformersEngine,
    genome: Genome,
    prompts: Sequence[Sequence[ChatMessage]],
    sampling: Sampling = GREEDY,
    seeds: Sequence[int] | None = None,
    logprobs: bool = False,
    tokens: bool = False,
) -> list[Reply]:
    async with engine.lease(genome) as lease:
        return await lease.answer(Ask(prompts, sampling, seeds, logprobs, tokens))


def timeless(replies: Sequence[Reply]) -> list[Reply]:
    return [reply.model_copy(update={"seconds": 0.0}) for reply in replies]


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
async def test_companions_and_order_do_not_matter(
    engine: TransformersEngine, bank: Bank, sampling: Sampling
) -> None:
    prompts, seeds = questions(40), list(range(100, 140))
    genome = bank.seed_genome("alpha")
    together = timeless(await ask(engine, genome, prompts, sampling, seeds, True))
    alone = [
        (await ask(engine, genome, [prompt], sampling, [seed], True))[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    assert timeless(alone) == together
    shuffler = random.Random(1)
    for size in (40, 23, 7):
        places = shuffler.sample(range(40), size)
        mixed = await ask(
            engine, genome, [prompts[i] for i in places], sampling, [seeds[i] for i in places], True
        )
        assert timeless(mixed) == [together[i] for i in places]


async def test_replies_come_back_after_swaps(engine: TransformersEngine, bank: Bank) -> None:
    prompts = questions(20)
    first = timeless(await ask(engine, bank.seed_genome("alpha"), prompts))
    other = timeless(await ask(engine, bank.seed_genome("beta"), prompts))
    assert first != other
    assert timeless(await ask(engine, bank.seed_genome("alpha"), prompts)) == first
    assert timeless(await ask(engine, bank.seed_genome("beta"), prompts)) == other


@pytest.mark.parametrize("engine", ["float32"], indirect=True)
async def test_agrees_with_the_librarys_own_generation(
    engine: TransformersEngine, bank: Bank
) -> None:
    """In float32, where rounding does not decide between close tokens."""
    prompts = questions(10)
    async with engine.lease(bank.base_genome()) as lease:
        replies = await lease.answer(Ask(prompts, GREEDY))
    model = bank.model().float()
    ends = sorted(bank.end_tokens)
    for prompt, reply in zip(prompts, replies, strict=True):
        text = bank.tokenizer.apply_chat_template(
            [m.model_dump() for m in prompt], tokenize=False, add_generation_prompt=True
        )
        tokens = torch.tensor([bank.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            expected = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=ends[0],
            )[0, tokens.shape[1] :]
        assert reply.text == bank.tokenizer.decode(expected, skip_special_tokens=True)
        assert reply.tokens_out == len(expected)
        assert reply.tokens_in == tokens.shape[1]
        assert reply.finish_reason == ("stop" if int(expected[-1]) in ends else "length")


def test_the_vocabulary_is_not_copied_for_every_row(bank: Bank) -> None:
    model = bank.model()
    width = model.config.hidden_size
    last = torch.zeros(4, 7, width, dtype=model.dtype)[:, -1:]

    def operations() -> set[str]:
        with torch.inference_mode(), torch.profiler.profile() as profile:
            model.get_output_embeddings()(last)
        return {event.key for event in profile.key_averages()}

    assert "aten::bmm" in operations(), "torch has changed: use_plain_head may be superfluous"
    use_plain_head(model)
    assert "aten::bmm" not in operations()


@pytest.mark.parametrize("engine", ["float32"], indirect=True)
async def test_logprob_and_certainty_are_means_over_the_reply(
    engine: TransformersEngine, bank: Bank
) -> None:
    prompt = chat("one two three")
    [reply] = await ask(engine, bank.base_genome(), [prompt], logprobs=True, tokens=True)
    [silent] = await ask(engine, bank.base_genome(), [prompt])
    assert silent.logprob is None
    assert silent.certainty is None
    assert silent.text == reply.text
    model = bank.model().float()
    text = bank.tokenizer.apply_chat_template(
        [m.model_dump() for m in prompt], tokenize=False, add_generation_prompt=True
    )
    tokens = bank.tokenizer(text, add_special_tokens=False)["input_ids"]
    total = certainty = 0.0
    each = []
    for _ in range(reply.tokens_out):
        with torch.inference_mode():
            scores = model(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)
        total += float(scores.max())
        each.append(float(scores.max()))
        # Kang et al. (2025): minus the mean of log(V p) over the vocabulary.
        certainty -= float((scores + math.log(len(scores))).mean())
        tokens = [*tokens, int(scores.argmax())]
    assert reply.logprob == pytest.approx(total / reply.tokens_out, abs=1e-3)
    assert reply.certainty == pytest.approx(certainty / reply.tokens_out, abs=1e-3)
    assert reply.tokens is not None
    found = [token.logprob for token in reply.tokens]
    assert found == pytest.approx(each[: len(found)], abs=1e-3)


async def test_seeds_make_samples_differ_and_repeat(engine: TransformersEngine, bank: Bank) -> None:
    prompts = [chat("one two three")] * 8
    genome = bank.base_genome()
    replies = await ask(engine, genome, prompts, WARM, range(8))
    assert len({reply.text for reply in replies}) > 4
    again = await ask(engine, genome, prompts[:1] * 3, WARM, [5, 5, 2])
    assert [r.text for r in again] == [replies[i].text for i in (5, 5, 2)]
    with pytest.raises(ValueError, match="one seed per prompt"):
        await ask(engine, genome, prompts, WARM)


async def test_a_prompt_that_does_not_fit_is_named_with_its_lengths(
    engine: TransformersEngine, bank: Bank
) -> None:
    long = chat("one " * 2000)
    with pytest.raises(PromptTooLongError, match=r"has \d{4} tokens; with 12 .* context of 1024"):
        await ask(engine, bank.base_genome(), [chat("one"), long])
    assert await ask(engine, bank.base_genome(), [chat("one")])


async def test_long_prompts_get_longer_caches(engine: TransformersEngine, bank: Bank) -> None:
    prompts = [chat("one " * n) for n in (3, 50, 150, 300)]
    together = await ask(engine, bank.base_genome(), prompts)
    alone = [(await ask(engine, bank.base_genome(), [prompt]))[0] for prompt in prompts]
    assert timeless(together) == timeless(alone)


@pytest.mark.skipif(not can_pack(torch.float32), reason="nothing is packed here")
async def test_a_failed_swap_leaves_nobody_in_the_engine(
    engine: TransformersEngine, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = questions(3)
    alpha = bank.seed_genome("alpha")
    expected = timeless(await ask(engine, alpha, prompts))

    def breaks_half_way(self: PackedLinear, weight: Tensor) -> None:
        self._packed = None
        raise EngineError("the device fell asleep")

    def breaks_when_written(bank: Bank, genome: Genome, model: Any) -> None:
        materialise(bank, genome, model)
        raise EngineError("the device fell asleep")

    with monkeypatch.context() as patch:
        patch.setattr(PackedLinear, "pack", breaks_half_way)
        # The way to a model of a format that this processor does not pack.
        patch.setattr(packing, "materialise", breaks_when_written)
        with pytest.raises(EngineError, match="fell asleep"):
            await ask(engine, bank.seed_genome("beta"), prompts)
    assert timeless(await ask(engine, alpha, prompts)) == expected


async def test_a_genome_of_another_bank_is_refused(engine: TransformersEngine, bank: Bank) -> None:
    with pytest.raises(GenomeError):
        await ask(engine, Genome(np.ones((99, 1), np.float32)), questions(1))


async def test_weights_that_are_not_finite_harm_nobody_else(
    engine: TransformersEngine, bank: Bank
) -> None:
    prompts = questions(12)
    alpha = bank.seed_genome("alpha")
    expected = timeless(await ask(engine, alpha, prompts))
    broken = Genome(np.full(alpha.coefficients.shape, 3e38, np.float32))
    for sampling in (GREEDY, WARM):
        assert len(await ask(engine, broken, prompts, sampling, range(12), True)) == 12
    assert timeless(await ask(engine, alpha, prompts)) == expected


async def test_cancelling_stops_the_decoding(engine: TransformersEngine, bank: Bank) -> None:
    slow = Sampling(temperature=1.5, max_tokens=900)
    genome = bank.base_genome()
    expected = timeless(await ask(engine, genome, questions(5)))
    asking = asyncio.create_task(ask(engine, genome, [chat("one")] * 60, slow, range(60)))
    await asyncio.sleep(0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert timeless(await asyncio.wait_for(ask(engine, genome, questions(5)), 20)) == expected


async def test_profile_names_what_can_change_an_answer(
    engine: TransformersEngine, bank: Bank
) -> None:
    profile = json.loads(engine.profile)
    assert profile["engine"] == "transformers"
    assert profile["rows"] == 6
    assert profile["dtype"] == "bfloat16"
    assert profile["torch"] == torch.__version__
    assert profile["threads"] >= 1
    other = TransformersEngine(bank, SETTINGS.model_copy(update={"rows": 8}))
    assert other.profile != engine.profile
    await other.close()
    with pytest.raises(EngineError, match="closed"):
        await ask(other, bank.base_genome(), questions(1))


def test_a_device_that_is_not_there_is_refused(bank: Bank) -> None:
    with pytest.raises(EngineError, match=r"engine.device"):
        TransformersEngine(bank, EngineSettings(device="cuda:99"))


async def test_empty_question_and_no_question(engine: TransformersEngine, bank: Bank) -> None:
    assert await ask(engine, bank.base_genome(), []) == []
    [reply] = await ask(engine, bank.base_genome(), [chat("")])
    assert reply.tokens_out >= 1


def test_profile_is_independent_of_paths(bank: Bank, tmp_path: Path) -> None:
    assert str(tmp_path.parent) not in TransformersEngine(bank, SETTINGS).profile
