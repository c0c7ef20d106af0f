"""The vLLM engine where something goes wrong: it notices, finds another way, or says so."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import psutil
import pytest
import pytest_asyncio
import torch

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.engines import Engine, open_engine
from evolution.engines.base import Ask
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError, SchemaError
from tests.conftest import TinyFamily
from tests.evolution.engines.engine_cases import (
    GREEDY,
    SETTINGS,
    apart,
    ask,
    child,
    genomes,
    needs_vllm,
    plain_scores,
    questions,
    scores,
    texts,
)

in_module = pytest.mark.asyncio(loop_scope="module")
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def copied(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    """A family of its own, whose files a test may harm."""
    folder = tmp_path_factory.mktemp("copied")
    paths = {"base": tiny_family.base, **tiny_family.seeds}
    for name, path in paths.items():
        shutil.copytree(path, folder / name)
    seeds = [SeedSettings(name=name, path=str(folder / name)) for name in tiny_family.seeds]
    return ModelSettings(base=str(folder / "base"), seeds=tuple(seeds))


@pytest.fixture(scope="module")
def bank(copied: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return load_bank(copied, SpectralSettings(rank=4), tmp_path_factory.mktemp("cache"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(bank: Bank) -> AsyncIterator[Engine]:
    engine = open_engine(bank, SETTINGS["vllm"])
    yield engine
    await engine.close()


@needs_vllm
@in_module
async def test_death_fails_what_was_asked_and_the_next_lease_starts_anew(
    engine: Engine, bank: Bank
) -> None:
    prompts, said = questions(4), texts(4)
    alpha = bank.seed_genome("alpha")
    expected = await scores(engine, alpha, prompts, said)
    for process in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(process.cmdline()) or "VLLM" in process.name():
            os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="vLLM has died"):
        await ask(engine, alpha, prompts)
    assert await scores(engine, alpha, prompts, said) == expected


@needs_vllm
@in_module
async def test_a_reply_of_other_weights_is_credited_to_nobody(engine: Engine, bank: Bank) -> None:
    held: Any = engine
    async with engine.lease(bank.seed_genome("alpha")) as lease:
        await held._in_thread(lambda: held._llm.update_weight_version("another"))
        with pytest.raises(EngineError, match="reply of another, and not of expert"):
            await lease.answer(Ask(questions(2), GREEDY))
    held._loaded = None
    assert len(await ask(engine, bank.seed_genome("alpha"), questions(2))) == 2


@needs_vllm
def test_a_reply_needs_one_stamp_throughout() -> None:
    from vllm.outputs import CompletionOutput, WeightVersionSpan

    from evolution.engines.vllm.requests import require_stamp

    def said(*spans: WeightVersionSpan, finish: str = "stop") -> CompletionOutput:
        tokens = [1] * 4
        return CompletionOutput(
            0, "", tokens, None, None, finish_reason=finish, weight_versions=list(spans)
        )

    require_stamp(said(WeightVersionSpan("a", 0, 4)), "a")
    for spans in ((WeightVersionSpan("b", 0, 2), WeightVersionSpan("a", 2, 4)), ()):
        with pytest.raises(EngineError, match="not of expert a"):
            require_stamp(said(*spans), "a")
    with pytest.raises(SchemaError):
        require_stamp(said(finish="error"), "a")


@needs_vllm
@in_module
async def test_every_way_to_the_weights_makes_the_same_expert(engine: Engine, bank: Bank) -> None:
    held: Any = engine
    ways = list(held._ways)
    assert len(ways) == 3
    prompts, said = questions(8), texts(8)
    found: dict[str, list[list[float]]] = {}
    await scores(engine, child(bank), prompts, said)
    hows = []
    for way in (*ways, ways[0]):
        held._ways = [way]
        for name, genome in genomes(bank).items():
            seen = await scores(engine, genome, prompts, said)
            # The last round is the first way again, after the others have put layers together anew.
            assert seen == found.setdefault(name, seen)
        hows.append(held.swapped["how"])
        held._loaded = None
    held._ways = ways
    assert hows == ["packed", "reloaded", "reloaded", "packed"]


@needs_vllm
@in_module
async def test_a_worker_without_the_bank_is_fed_through_a_folder(
    engine: Engine,
    bank: Bank,
    copied: ModelSettings,
    tiny_family: TinyFamily,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A seed changes on disk while vLLM is down: the worker's bank is then another one."""
    prompts, said = questions(8), texts(8)
    first, second = copied.seeds[0], copied.seeds[1]
    shutil.copytree(second.path, first.path, dirs_exist_ok=True)
    held: Any = engine
    try:
        await held._in_thread(held._restart)
        for genome in (bank.seed_genome("alpha"), child(bank)):
            found = await scores(engine, genome, prompts, said)
            assert apart(found, plain_scores(bank, genome, prompts, said)) < TOLERANCE
    finally:
        # Other tests start vLLM with the same seeds.
        shutil.copytree(tiny_family.seeds[first.name], first.path, dirs_exist_ok=True)
    assert [record.message for record in caplog.records if "different bank" in record.message]


@needs_vllm
@in_module
async def test_what_goes_wrong_in_the_worker_is_noticed_and_another_way_taken(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from evolution.engines.vllm import start

    monkeypatch.setattr(
        start, "WORKER", "tests.evolution.engines.vllm.forgetful_worker.ForgetfulWorker"
    )
    engine = open_engine(bank, SETTINGS["vllm"])
    held: Any = engine
    ways = list(held._ways)
    prompts, said = questions(4), texts(4)
    alpha, beta = (bank.seed_genome(name) for name in ("alpha", "beta"))
    try:
        first = await scores(engine, alpha, prompts, said)
        for order, reason in (
            ("fail_once_in_packing", "no memory is left"),
            ("forget_heads_in_packing", "weights it was given .*model.embed_tokens"),
        ):
            caplog.clear()
            await held._in_thread(partial(held._call, order))
            found = await scores(engine, beta, prompts, said)
            assert apart(found, plain_scores(bank, beta, prompts, said)) < TOLERANCE
            assert held.swapped["how"] == "reloaded"
            warned = [each.message for each in caplog.records if "another way" in each.message]
            assert [bool(re.search(reason, message)) for message in warned] == [True]
            held._ways = list(ways)
            held._loaded = None
            if order == "fail_once_in_packing":
                assert await scores(engine, alpha, prompts, said) == first
                assert held.swapped["how"] == "packed"
        await held._in_thread(partial(held._call, "forget_heads_in_reloading"))
        with pytest.raises(
            EngineError, match=r"weights it was given .*model\.embed_tokens.* engine\.kind"
        ):
            await ask(engine, alpha, prompts)
    finally:
        await engine.close()


@needs_vllm
def test_the_witness_looks_into_embeddings_of_positions_too() -> None:
    from evolution.engines.vllm.witness import Witness

    model = torch.nn.Module()
    model.positions = torch.nn.Embedding(5, 16)
    fed = model.positions.weight.detach().clone()
    for changed in ((), ("positions.weight",)):
        witness = Witness()
        witness.keep("positions.weight", fed)
        verdict = witness.judge(model)
        assert (verdict.seen, verdict.unseen, verdict.differing) == (1, (), changed)
        model.positions.weight.data[3, 0] += 1.0


@needs_vllm
def test_a_tensor_has_the_name_of_its_owner_also_at_the_top() -> None:
    from evolution.engines.vllm.witness import sources_of

    packed = {"qkv": ["q", "k", "v"]}
    assert sources_of("lm_head.weight", packed) == ["lm_head.weight"]
    assert sources_of("model.0.norm.weight", packed) == ["model.0.norm.weight"]
    assert sources_of("model.0.qkv.bias", packed) == [f"model.0.{part}.bias" for part in "qkv"]


@needs_vllm
def test_a_tensor_that_the_witness_did_not_find_fails_the_swap() -> None:
    from evolution.engines.vllm.witness import Findings
    from evolution.engines.vllm.worker import _check

    _check(Findings(12, (), (), ()), list)
    with pytest.raises(EngineError, match=r"1 tensors that cannot be verified .*: mlp\.experts"):
        _check(Findings(12, ("mlp.experts",), (), ()), list)


@needs_vllm
def test_a_device_that_this_vllm_is_not_for_is_refused(bank: Bank) -> None:
    with pytest.raises(EngineError, match=r"engine.device"):
        open_engine(bank, EngineSettings(kind="vllm", device="xpu"))


@needs_vllm
def test_what_does_not_start_says_why(bank: Bank) -> None:
    with pytest.raises(EngineError, match=r"vLLM does not start: .*(memory|KV cache)"):
        open_engine(bank, EngineSettings(kind="vllm", kv_cache_gib=100_000))
