"""What every engine promises: over all that are installed, and over tied and untied heads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import pytest_asyncio

from evolution.bank.anchors import save_anchor
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.engines import Engine
from evolution.engines.base import Ask
from evolution.errors import EngineError, GenomeError, PromptTooLongError, SchemaError
from evolution.genome.genome import Genome
from evolution.merging.regmean import Member, merge_by_regmean, unit
from evolution.merging.settings import RegMeanSettings
from memory.records import Sampling
from tests.evolution.conftest import models_of
from tests.evolution.engines.engine_cases import (
    COMPUTED,
    GREEDY,
    SETTINGS,
    WARM,
    apart,
    ask,
    chat,
    child,
    genomes,
    opened,
    plain_scores,
    questions,
    scores,
    texts,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOLERANCE = 0.1
"""How far log-probabilities in bfloat16 may be from those in float32, on average over the tokens.
Weights of these tiny models are rough: both engines are 0.03 to 0.06 away, other experts 0.5."""
EXACT = 1e-4
"""How far they may be where both are computed in float32; weights that are not rounded to bfloat16
before would be 0.01 away."""
LAST_BIT = 0.01
"""How far those of vLLM may be from its own: only as far as rounding goes."""


@pytest.fixture(scope="module", params=["tiny_family", "tiny_qwen_family"], ids=["tied", "untied"])
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    family = request.getfixturevalue(request.param)
    cache = tmp_path_factory.mktemp("cache")
    return load_bank(models_of(family), SpectralSettings(rank=4), cache)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=COMPUTED)
async def engine(request: pytest.FixtureRequest, bank: Bank) -> AsyncIterator[Engine]:
    kind, compute = request.param
    engine = await opened(kind, compute, bank)
    yield engine
    await engine.close()


async def test_replies_are_complete_and_in_order(engine: Engine, bank: Bank) -> None:
    prompts = questions(20)
    replies = await ask(engine, bank.seed_genome("alpha"), prompts, logprobs=True)
    for prompt, reply in zip(prompts, replies, strict=True):
        text = bank.tokenizer.apply_chat_template(
            [m.model_dump() for m in prompt], tokenize=False, add_generation_prompt=True
        )
        assert reply.tokens_in == len(bank.tokenizer(text, add_special_tokens=False)["input_ids"])
        assert 1 <= reply.tokens_out <= GREEDY.max_tokens
        if reply.finish_reason == "length":
            assert reply.tokens_out == GREEDY.max_tokens
        assert "<|im_end|>" not in reply.text
        assert reply.logprob is not None
        assert reply.logprob < 0.0
        assert reply.seconds > 0.0


async def test_tokens_spell_the_reply_with_their_log_probabilities(
    engine: Engine, bank: Bank
) -> None:
    prompts = questions(12)
    plain = await ask(engine, bank.seed_genome("alpha"), prompts, WARM, range(12))
    assert all(reply.tokens is None for reply in plain)
    both = await ask(engine, bank.seed_genome("alpha"), prompts, WARM, range(12), True, True)
    assert [reply.text for reply in both] == [reply.text for reply in plain]
    for reply in both:
        assert reply.tokens is not None
        assert reply.logprob is not None
        assert "".join(token.text for token in reply.tokens) == reply.text
        ended = reply.finish_reason == "stop"
        assert len(reply.tokens) == reply.tokens_out - ended
        total = sum(token.logprob for token in reply.tokens)
        mean = reply.logprob * reply.tokens_out
        assert mean <= total + 1e-4 if ended else mean == pytest.approx(total, abs=1e-4)
    assert any(reply.finish_reason == "length" for reply in both)
    assert "tokens" not in both[0].model_dump(), "they are for who asked, and never stored"


async def test_scores_are_those_of_the_expert(engine: Engine, bank: Bank) -> None:
    prompts, said = questions(12), texts(12)
    for genome in genomes(bank).values():
        found = await scores(engine, genome, prompts, said)
        assert apart(found, plain_scores(bank, genome, prompts, said)) < TOLERANCE


async def test_what_is_computed_in_float32_has_the_same_weights(engine: Engine, bank: Bank) -> None:
    """Rounded as ever: an expert is the same one whatever it is computed in."""
    if json.loads(engine.profile)["compute"] != "float32":
        pytest.skip("computed in the format of the weights")
    prompts, said = questions(12), texts(12)
    for genome in genomes(bank).values():
        found = await scores(engine, genome, prompts, said)
        assert apart(found, plain_scores(bank, genome, prompts, said)) < EXACT


async def test_an_expert_comes_back_to_the_letter(engine: Engine, bank: Bank) -> None:
    """After A -> B -> A: the same scores, and the same replies to prompts that were read as B."""
    prompts, said = questions(12), texts(12)
    alpha, other = bank.seed_genome("alpha"), child(bank)
    first = await scores(engine, alpha, prompts, said)
    replies = await ask(engine, alpha, prompts, logprobs=True)
    between = await scores(engine, other, prompts, said)
    others = await ask(engine, other, prompts, logprobs=True)
    assert apart(first, between) > 3 * TOLERANCE
    assert [reply.text for reply in others] != [reply.text for reply in replies]
    # In the last bit vLLM's sums depend on which prompts share a step, and that on when they come.
    slack = LAST_BIT if json.loads(engine.profile)["engine"] == "vllm" else 0.0
    assert apart(await scores(engine, alpha, prompts, said), first) <= slack
    again = await ask(engine, alpha, prompts, logprobs=True)
    assert [reply.text for reply in again] == [reply.text for reply in replies]
    before = pytest.approx([reply.logprob for reply in replies], abs=slack, rel=0.0)
    assert [reply.logprob for reply in again] == before


async def test_an_anchor_that_is_grafted_meanwhile_answers(
    engine: Engine, bank: Bank, adapter: Path
) -> None:
    prompts, said = questions(12), texts(12)
    await scores(engine, bank.base_genome(), prompts, said)
    name = f"grafted-{len(bank.anchors)}"
    bank.graft(name, str(adapter))
    genome = bank.seed_genome(name)
    found = await scores(engine, genome, prompts, said)
    assert apart(found, plain_scores(bank, genome, prompts, said)) < TOLERANCE
    assert apart(found, await scores(engine, bank.base_genome(), prompts, said)) > 2 * TOLERANCE


async def test_columns_of_a_merge_that_share_left_factors_answer(
    engine: Engine, bank: Bank, adapter: Path, tmp_path: Path
) -> None:
    """They join the bank together with the anchor that they share them with, and after a swap; and
    those that are set aside are read from their files."""
    prompts, said = questions(12), texts(12)
    await scores(engine, bank.base_genome(), prompts, said)
    profile = json.loads(engine.profile)
    name = f"merge-{len(bank.anchors)}"
    bank.graft(f"root-{name}", str(adapter))
    numbers = np.random.default_rng(0)
    read = [numbers.integers(0, bank.config.vocab_size, (4, 12)).tolist() for _ in range(2)]
    members = [bank.seed_genome(f"root-{name}"), child(bank)]
    pairs = zip(members, read, strict=True)
    merge = merge_by_regmean(name, bank, [Member(*each) for each in pairs], RegMeanSettings())
    assert [bool(anchor.root) for anchor in merge] == [True, True, False]
    bank.append(*merge)
    # Weighed apart, which only columns of their own allow.
    genome = bank.base_genome()
    coefficients = np.zeros_like(genome.coefficients)
    coefficients[:, -len(merge) :] = [1.3, 0.7, 0.4]
    weighed = Genome(coefficients)
    closest = EXACT if profile["compute"] == "float32" else TOLERANCE
    for each in (unit(bank, merge), weighed):
        found = await scores(engine, each, prompts, said)
        assert apart(found, plain_scores(bank, each, prompts, said)) < closest
        assert apart(found, await scores(engine, bank.base_genome(), prompts, said)) > 2 * TOLERANCE
    whole, parts = [
        await scores(engine, each, prompts, said) for each in (unit(bank, merge), weighed)
    ]
    assert apart(whole, parts) > 2 * TOLERANCE
    for anchor in merge[::2]:
        save_anchor(anchor, tmp_path / anchor.content_hash)
        bank.set_aside(anchor.name, tmp_path / anchor.content_hash)
    # Another expert in between, so that the weights are made anew.
    await scores(engine, bank.base_genome(), prompts, said)
    slack = LAST_BIT if profile["engine"] == "vllm" else 0.0
    assert apart(await scores(engine, weighed, prompts, said), parts) <= slack
    if profile["engine"] == "vllm":
        held, file = cast(Any, engine), tmp_path / merge[0].content_hash
        hidden, swap = file.rename(tmp_path / "hidden"), ("acdc_swap", weighed.to_bytes(), True)
        with pytest.raises(EngineError, match="missing or damaged"):
            await held._in_thread(partial(held._call, *swap))
        hidden.rename(file)
        held._loaded = None
        assert apart(await scores(engine, weighed, prompts, said), parts) <= slack


async def test_seeds_make_replies_differ_and_repeat(engine: Engine, bank: Bank) -> None:
    prompts = [chat("one two three")] * 8
    replies = await ask(engine, bank.base_genome(), prompts, WARM, range(8))
    assert len({reply.text for reply in replies}) > 4
    again = await ask(engine, bank.base_genome(), prompts, WARM, range(8))
    assert [reply.text for reply in again] == [reply.text for reply in replies]
    with pytest.raises(ValueError, match="one seed per prompt"):
        await ask(engine, bank.base_genome(), prompts, WARM)


@pytest.mark.parametrize("temperature", [5e-324, 1e-46, 1e-38, 1e-6])
async def test_near_temperature_zero_the_best_token_is_drawn(
    engine: Engine, bank: Bank, temperature: float
) -> None:
    prompts, cold = questions(4), Sampling(temperature=temperature, top_p=0.9, max_tokens=8)
    greedy = await ask(engine, bank.base_genome(), prompts)
    drawn = await ask(engine, bank.base_genome(), prompts, cold, range(4))
    assert [reply.text for reply in drawn] == [reply.text for reply in greedy]


async def test_any_other_finite_sampling_draws_tokens(engine: Engine, bank: Bank) -> None:
    prompts = [chat("one two three")] * 8
    greedy = await ask(engine, bank.base_genome(), prompts[:1])
    narrow = Sampling(temperature=1.5, top_p=5e-324, max_tokens=8)
    for reply in await ask(engine, bank.base_genome(), prompts, narrow, range(8)):
        assert reply.text == greedy[0].text
    for hot in (1e38, 1e308):
        wide = Sampling(temperature=hot, max_tokens=8)
        replies = await ask(engine, bank.base_genome(), prompts, wide, range(8))
        assert len({reply.text for reply in replies}) == 8


async def test_long_prompts_with_seeds_are_answered(engine: Engine, bank: Bank) -> None:
    """More tokens than vLLM reads at a time: read in parts, with a seed, they would kill it."""
    prompts = [chat("one " * (150 + number)) for number in range(24)]
    replies = await ask(engine, bank.base_genome(), prompts, WARM, range(24))
    assert all(reply.tokens_out for reply in replies)


async def test_a_prompt_that_does_not_fit_is_named(engine: Engine, bank: Bank) -> None:
    with pytest.raises(PromptTooLongError, match="context of 1024"):
        await ask(engine, bank.base_genome(), [chat("one"), chat("one " * 2000)])
    with pytest.raises(PromptTooLongError, match="context of 1024"):
        await scores(engine, bank.base_genome(), [chat("one")], ["one " * 2000])
    assert await ask(engine, bank.base_genome(), [chat("one")])


async def test_nothing_asked_nothing_answered(engine: Engine, bank: Bank) -> None:
    assert await ask(engine, bank.base_genome(), []) == []
    assert await scores(engine, bank.base_genome(), [chat("one")], [""]) == [[]]


async def test_a_genome_of_another_bank_is_refused(engine: Engine, bank: Bank) -> None:
    with pytest.raises(GenomeError):
        await ask(engine, Genome(np.ones((99, 1), np.float32)), questions(1))


async def test_weights_that_are_not_finite_harm_nobody_else(engine: Engine, bank: Bank) -> None:
    prompts, said = questions(6), texts(6)
    alpha = bank.seed_genome("alpha")
    expected = await scores(engine, alpha, prompts, said)
    broken = Genome(np.full(alpha.coefficients.shape, 3e38, np.float32))
    assert len(await ask(engine, broken, prompts)) == 6
    assert len(await ask(engine, broken, prompts, WARM, range(6))) == 6
    assert await scores(engine, alpha, prompts, said) == expected


async def test_leases_end_and_exclude_each_other(engine: Engine, bank: Bank) -> None:
    events = []

    async def hold(name: str) -> None:
        async with engine.lease(bank.seed_genome(name)) as lease:
            events.append(f"{name} in")
            await lease.answer(Ask([chat("one")], GREEDY))
            events.append(f"{name} out")

    await asyncio.gather(hold("alpha"), hold("beta"))
    assert events == ["alpha in", "alpha out", "beta in", "beta out"]
    async with engine.lease(bank.base_genome()) as lease:
        pass
    with pytest.raises(EngineError, match="lease has ended"):
        await lease.answer(Ask([chat("one")], GREEDY))
    with pytest.raises(EngineError, match="lease has ended"):
        await lease.score([chat("one")], ["two"])


async def test_cancelling_stops_the_decoding(engine: Engine, bank: Bank) -> None:
    slow = Sampling(temperature=1.5, max_tokens=600)
    prompts, said = questions(3), texts(3)
    expected = await scores(engine, bank.base_genome(), prompts, said)
    asking = asyncio.create_task(ask(engine, bank.base_genome(), questions(60), slow, range(60)))
    await asyncio.sleep(0.3)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for genome in (bank.seed_genome("alpha"), bank.base_genome()):
        found = await asyncio.wait_for(scores(engine, genome, prompts, said), 120)
    assert found == expected


async def test_profile_names_engine_version_and_dtype(
    engine: Engine, bank: Bank, tmp_path: Path
) -> None:
    profile = json.loads(engine.profile)
    assert profile[profile["engine"]]
    assert profile["dtype"] == "bfloat16", "of the weights"
    assert profile["compute"] in ("bfloat16", "float32")
    assert profile["threads"] >= 1
    assert profile["rows"] == SETTINGS[profile["engine"]].rows
    assert str(tmp_path.parent) not in engine.profile


async def test_replies_follow_a_json_schema_or_the_engine_says_that_it_cannot(
    engine: Engine, bank: Bank
) -> None:
    prompts = questions(6)

    async def said(schema: Any) -> list[Any]:
        async with engine.lease(bank.seed_genome("alpha")) as lease:
            asked = Ask(prompts, WARM, range(6), json_schema=json.dumps(schema))
            return [json.loads(reply.text) for reply in await lease.answer(asked)]

    if json.loads(engine.profile)["engine"] != "vllm":
        with pytest.raises(SchemaError, match=r"engine\.kind to vllm"):
            await said({"enum": ["yes", "no"]})
        return
    assert set(await said({"enum": ["yes", "no"]})) <= {"yes", "no"}
    assert all(type(value) is bool for value in await said({"type": "boolean"}))
    with pytest.raises(SchemaError, match="JSON schema"):
        await said({"type": "no such type"})
    replies = await ask(engine, bank.seed_genome("alpha"), prompts, WARM, range(6))
    assert any(reply.text not in ("true", "false") for reply in replies), "no longer constrained"
