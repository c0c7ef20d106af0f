"""Families of any architecture: nothing is known of them but names and shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
)

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.breeding.breed import breed
from evolution.breeding.settings import BreedingSettings
from evolution.engines import Engine, open_engine
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from evolution.materialise.weights import checksum, expected_checksum, materialise
from evolution.planning.sizes import measure_sizes
from tests.conftest import TinyFamily, make_family
from tests.evolution.conftest import models_of
from tests.evolution.engines.engine_cases import (
    SETTINGS,
    apart,
    child,
    needs_vllm,
    plain_scores,
    questions,
    scores,
    texts,
)

KINDS: dict[str, tuple[Callable[..., PretrainedConfig], dict[str, Any], bool]] = {
    "llama": (LlamaConfig, {}, True),
    "qwen2": (Qwen2Config, {}, False),
    "qwen3": (Qwen3Config, {"head_dim": 32}, True),
    "gemma": (GemmaConfig, {"head_dim": 32}, True),
    "gemma2": (Gemma2Config, {"head_dim": 32}, True),
    "mistral": (MistralConfig, {}, False),
    "mixtral": (MixtralConfig, {"num_local_experts": 4}, False),
    "qwen2_moe": (
        Qwen2MoeConfig,
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
        False,
    ),
    "bloom": (BloomConfig, {}, True),
}
REFUSED = {
    "MixtralForCausalLM": r"mixture-of-experts .* engine\.kind",
    "Qwen2MoeForCausalLM": r"mixture-of-experts .* engine\.kind",
    # vLLM brings the rows of its tensors into another order when it loads them.
    "BloomForCausalLM": r"compute with the weights it was given .*query_key_value.* engine\.kind",
}
"""Class of a model -> what the vLLM engine says of it, at the latest when it is to answer."""

Held = tuple[Bank, TinyFamily, bool]


@pytest.fixture(scope="module", params=KINDS)
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """A bank of one architecture, the folders it was loaded from, and whether its head is tied."""
    config, more, tied = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)

    def configured(**shape: Any) -> PretrainedConfig:
        return config(**shape, **more)

    family = make_family(folder, configured, tied=tied)
    bank = load_bank(models_of(family), SpectralSettings(rank=8), folder / "cache")
    return bank, family, tied


def loaded(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def test_a_unit_row_is_its_seed(held: Held) -> None:
    bank, family, _ = held
    model = bank.model()
    for name, folder in family.seeds.items():
        materialise(bank, bank.seed_genome(name), model)
        wanted = dict(loaded(folder).named_parameters())
        found = dict(model.named_parameters())
        assert set(found) == set(wanted)
        for key, tensor in wanted.items():
            # Within one unit in the last place of bf16.
            assert torch.allclose(found[key].float(), tensor.float(), rtol=2**-7, atol=1e-30), key


def test_children_swap_in_and_out_and_speak(held: Held) -> None:
    bank, _, tied = held
    seeds = [bank.seed_genome(name) for name in ("alpha", "beta")]
    bred = breed(bank, seeds, 0, BreedingSettings()).genome
    assert bred.displacements
    model = bank.model()
    materialise(bank, bred, model)
    once = checksum(model)
    materialise(bank, seeds[0], model)
    assert checksum(model) == expected_checksum(bank, seeds[0]) != once
    materialise(bank, bred, model)
    assert checksum(model) == expected_checksum(bank, bred) == once
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert (head.weight is embeddings.weight) is tied
    tokens: Any = bank.tokenizer("What is the sum of 12 and 30?", return_tensors="pt")
    with torch.no_grad():
        assert model(**tokens).logits.isfinite().all()


@needs_vllm
@pytest.mark.asyncio
async def test_vllm_computes_with_each_expert_in_turn(held: Held) -> None:
    bank, _, _ = held
    refusal = REFUSED.get(bank.config.architectures[0])
    if refusal is not None:
        with pytest.raises(EngineError, match=refusal):
            await in_turn(bank)
    else:
        await in_turn(bank)


async def in_turn(bank: Bank) -> None:
    """Every expert is scored as the library's own forward pass would, also after nonsense."""
    prompts, said = questions(6), texts(6)
    # So few blocks that what one expert has left in them is soon handed on to others.
    held: Any = open_engine(bank, SETTINGS["vllm"].model_copy(update={"kv_cache_gib": 0.0007}))
    engine: Engine = held
    genomes = [bank.seed_genome("alpha"), child(bank)]
    first, ways = [], []
    try:
        for genome in genomes:
            first.append(await scores(engine, genome, prompts, said))
            ways.append(held.swapped["how"])
            assert apart(first[-1], plain_scores(bank, genome, prompts, said)) < 0.1
        assert ways == ["reloaded", "packed"]
        nonsense = await scores(engine, overflowing(bank), prompts, said)
        assert not np.isfinite(list(itertools.chain(*nonsense))).any()
        for _ in range(4):
            assert [await scores(engine, genome, prompts, said) for genome in genomes] == first
    finally:
        await engine.close()


def overflowing(bank: Bank) -> Genome:
    """An expert whose keys and values are no numbers."""
    coefficients = np.full((len(bank.blocks), len(bank.anchors)), 1e37, np.float32)
    # Those would be normalised to zero.
    embeddings = next(iter(bank.layout.tensor_blocks.values()))
    coefficients[embeddings] = 0.0
    return Genome(coefficients)


def test_its_size_is_planned_from_headers(held: Held, tmp_path: Path) -> None:
    bank, family, _ = held
    sizes = measure_sizes(models_of(family), SpectralSettings(rank=8), tmp_path)
    assert sizes.weights == sum(tensor.nbytes for tensor in bank.base.values())
    # Residuals come on top: these tiny seeds lie far from their base.
    assert sizes.bank <= bank.memory_bytes <= 1.8 * sizes.bank
