from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.bank.sources import _wheel_file
from evolution.bank.task_vectors import difference, inner
from evolution.breeding.mutation import gaussian, spectral
from evolution.errors import GenomeError
from evolution.genome.genome import Genome
from evolution.materialise.fusion import adds_in_one_pass
from evolution.materialise.sums import Sum
from evolution.materialise.weights import (
    checksum,
    expected_checksum,
    lacks_loop,
    materialise,
    rounded,
    weigh,
    write_to,
)
from tests.evolution.conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


def state(folder: Path) -> dict[str, Tensor]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return {name: tensor.detach() for name, tensor in model.named_parameters()}


def ulps_apart(found: Tensor, wanted: Tensor) -> float:
    """Largest distance in units of the last place of bf16 of `wanted`."""
    exponent = torch.floor(torch.log2(wanted.double().abs().clamp_min(1e-30)))
    return float(((found.double() - wanted.double()).abs() / torch.exp2(exponent - 7)).max())


def mixed(bank: Bank, seed: int = 0) -> Genome:
    rng = np.random.default_rng(seed)
    coefficients = rng.uniform(-0.5, 1.2, (len(bank.blocks), len(bank.anchors)))
    return spectral(Genome(coefficients), bank.geometry, rng, strength=0.05)[0]


def adapter_delta(adapter: Path, name: str, shape: torch.Size) -> Tensor:
    """What a LoRA adapter adds to one tensor, by its definition."""
    factors = load_file(adapter / "adapter_model.safetensors")
    key = f"base_model.model.{name.removesuffix('.weight')}"
    if f"{key}.lora_A.weight" not in factors:
        return torch.zeros(shape, dtype=torch.float64)
    return 2.0 * factors[f"{key}.lora_B.weight"].double() @ factors[f"{key}.lora_A.weight"].double()


def test_base_genome_is_the_base_bit_by_bit(bank: Bank, tiny_family: TinyFamily) -> None:
    model = bank.model()
    fresh = checksum(model)
    materialise(bank, mixed(bank), model)
    assert checksum(model) != fresh
    materialise(bank, bank.base_genome(), model)
    assert checksum(model) == fresh
    for name, tensor in state(tiny_family.base).items():
        assert torch.equal(model.get_parameter(name), tensor), name


@pytest.mark.parametrize("seed", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize(
    ("which", "models"), [("bank", "tiny_family"), ("qwen_bank", "tiny_qwen_family")]
)
def test_unit_row_is_the_seed_within_one_ulp(
    which: str, models: str, seed: str, request: pytest.FixtureRequest
) -> None:
    bank: Bank = request.getfixturevalue(which)
    family: TinyFamily = request.getfixturevalue(models)
    wanted = state(family.seeds[seed])
    found = dict(rounded(bank, bank.seed_genome(seed)))
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert ulps_apart(found[name], tensor) <= 1.0, name


def test_weights_are_the_merge_computed_directly(
    bank: Bank, tiny_family: TinyFamily, adapter: Path
) -> None:
    genome = mixed(bank)
    base = state(tiny_family.base)
    seeds = [state(folder) for folder in tiny_family.seeds.values()]
    for name, found in weigh(bank, genome):
        row = genome.coefficients[bank.layout.tensor_blocks[name]].astype(float)
        wanted = base[name].double()
        for coefficient, seed in zip(row, seeds, strict=False):
            wanted = wanted + coefficient * (seed[name].double() - base[name].double())
        wanted = wanted + row[3] * adapter_delta(adapter, name, wanted.shape)
        if name in genome.displacements:
            left, _, right = torch.linalg.svd(base[name].double(), full_matrices=False)
            delta = torch.from_numpy(genome.displacements[name].copy()).double()
            # Singular vectors are given up to a common sign, which their product does not show.
            wanted = wanted + left[:, :16] * delta @ right[:16]
        size = wanted.abs().max()
        # A bf16 difference is off by at most 2^-9 of itself.
        assert (found.double() - wanted).abs().max() < 2e-3 * size, name


def test_adapter_weighs_as_peft_merges_it(
    bank: Bank, tiny_family: TinyFamily, adapter: Path
) -> None:
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(tiny_family.base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    wanted = dict(merged.named_parameters())
    for name, found in weigh(bank, bank.seed_genome("delta")):
        assert torch.allclose(found.float(), wanted[name], atol=1e-5), name


def test_swaps_leave_nothing_behind(bank: Bank) -> None:
    model = bank.model()
    first, second = mixed(bank, 1), mixed(bank, 2)
    materialise(bank, first, model)
    once = checksum(model)
    materialise(bank, second, model)
    materialise(bank, first, model)
    assert checksum(model) == once == expected_checksum(bank, first)
    assert checksum(model, stride=97) == expected_checksum(bank, first, stride=97)
    assert expected_checksum(bank, first, stride=97) != expected_checksum(bank, second, stride=97)


def test_a_model_that_computes_in_float32_gets_the_rounded_weights(bank: Bank) -> None:
    narrow, wide = bank.model(), bank.model(torch.float32)
    for genome in (mixed(bank), bank.base_genome()):
        for model in (narrow, wide):
            materialise(bank, genome, model)
        for name, tensor in narrow.state_dict().items():
            assert torch.equal(wide.state_dict()[name], tensor.float()), name


def test_to_round_on_the_way_is_to_round_at_the_end(bank: Bank) -> None:
    genome = mixed(bank)
    for (name, narrow), (_, wide) in zip(rounded(bank, genome), weigh(bank, genome), strict=True):
        assert narrow.dtype == bank.dtype
        assert torch.equal(narrow, wide.to(bank.dtype)), name


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
@pytest.mark.parametrize("threads", [1, 5])
def test_all_sums_in_one_call_give_the_same_expert_in_every_dtype(
    dtype: str,
    threads: int,
    tiny_family: TinyFamily,
    adapter: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = models_of(tiny_family, adapter).model_copy(update={"dtype": dtype})
    bank = load_bank(models, SpectralSettings(rank=16), cache)
    mutated = mixed(bank)
    plain = Genome(mutated.coefficients)
    noisy = gaussian(plain, bank.geometry, np.random.default_rng(1))[0]
    one_by_one, together = bank.model(), bank.model()
    before = torch.get_num_threads()
    for genome in (plain, mutated, noisy, bank.seed_genome("beta"), bank.base_genome()):
        materialise(bank, genome, one_by_one)
        monkeypatch.setattr("evolution.materialise.weights._WORTH_COMPILING", 1)
        torch.set_num_threads(threads)
        try:
            materialise(bank, genome, together)
            assert checksum(together) == expected_checksum(bank, genome)
        finally:
            torch.set_num_threads(before)
            monkeypatch.undo()
        assert checksum(together) == checksum(one_by_one)


def test_a_small_bank_is_never_worth_a_compiler(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(plain: object) -> None:
        raise AssertionError("a loop was compiled")

    monkeypatch.setattr("evolution.materialise.fusion.proven_loop", compiled)
    model = bank.model()
    for genome in (bank.base_genome(), mixed(bank)):
        materialise(bank, genome, model)
        assert checksum(model) == expected_checksum(bank, genome)


def test_a_bank_that_would_be_summed_faster_with_a_compiler_is_told_from_others(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not lacks_loop(bank)  # tiny: not worth it
    monkeypatch.setattr("evolution.materialise.weights._WORTH_COMPILING", 1)
    assert lacks_loop(bank) is not adds_in_one_pass(torch.empty(0, dtype=bank.dtype))
    monkeypatch.setattr("evolution.materialise.fusion.proven_loop", lambda plain: None)
    assert lacks_loop(bank)
    # The loop knows nothing of float16, with or without a compiler.
    monkeypatch.setattr(Bank, "dtype", torch.float16)
    assert not lacks_loop(bank)


def test_tensors_are_written_where_the_caller_wants_them(bank: Bank) -> None:
    genome = mixed(bank)
    asked: list[str] = []
    places = {
        name: torch.empty(shape, dtype=bank.dtype) for name, shape in bank.layout.shapes.items()
    }

    def place(name: str) -> torch.Tensor:
        asked.append(name)
        return places[name]

    for (name, written), (same, wanted) in zip(
        write_to(bank, genome, place), rounded(bank, genome), strict=True
    ):
        # One at a time: a buffer may be given for the next tensor as soon as this one is there.
        assert asked[-1] == name == same
        assert written is places[name]
        assert torch.equal(written, wanted), name


def test_tied_head_stays_tied_and_untied_stays_untied(bank: Bank, qwen_bank: Bank) -> None:
    for held, tied in ((bank, True), (qwen_bank, False)):
        model = held.model()
        materialise(held, mixed(held), model)
        head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
        assert (head.weight is embeddings.weight) is tied
        assert held.blocks[0] == "embeddings"
        assert held.blocks[-1] == "head"
    assert "lm_head.weight" not in bank.layout.tensor_blocks


def test_fresh_model_answers_like_the_base_folder(bank: Bank, tiny_family: TinyFamily) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(tiny_family.base)
    tokens: Any = bank.tokenizer("What is the sum of 12 and 30?", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(bank.model()(**tokens).logits, loaded(**tokens).logits)


def test_genome_of_another_bank_is_refused(bank: Bank) -> None:
    with pytest.raises(GenomeError, match="3 blocks, the bank has 4"):
        materialise(bank, Genome(np.zeros((3, 1))), bank.model())
    wrong = Genome(bank.base_genome().coefficients, {bank.layout.matrices[0]: np.ones(5)})
    with pytest.raises(GenomeError, match=r"shape \(5,\), its spectral basis has \(16,\)"):
        materialise(bank, wrong, bank.model())


def test_dense_parts_are_added_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch, bank: Bank) -> None:
    genome = mixed(bank)
    whole = expected_checksum(bank, genome)
    anchor = bank.anchors[0]
    name = bank.layout.matrices[0]
    vector = anchor.vectors[name]
    length = inner(vector, vector)
    monkeypatch.setattr("evolution.bank.task_vectors._CHUNK", 1000)
    assert expected_checksum(bank, genome) == whole
    assert inner(vector, vector) == pytest.approx(length)
    seed = bank.base[name] + torch.randn(bank.base[name].shape).to(torch.bfloat16)
    again = difference(seed, bank.base[name])
    assert again is not None
    total = bank.base[name].float()
    Sum(bank.base[name], ((1.0, again),)).write(total)
    assert ulps_apart(total.to(torch.bfloat16), seed) <= 1.0


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.1, 1.0, 10.0])
def test_a_difference_leads_back_to_any_seed(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(200, 50, generator=generator).to(torch.bfloat16)
    noise = spread * torch.randn(200, 50, generator=generator)
    seed = (base.float() + noise).to(torch.bfloat16)
    seed[0] = 0.0
    vector = difference(seed, base)
    assert vector is not None
    total = base.float()
    Sum(base, ((1.0, vector),)).write(total)
    assert ulps_apart(total.to(torch.bfloat16), seed) <= 1.0
    square = float((seed.double() - base.double()).square().sum())
    assert inner(vector, vector) == pytest.approx(square, rel=1e-3)
    assert difference(base, base) is None


def test_end_tokens_of_the_folder_reach_the_model(
    tiny_family: TinyFamily, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_family.base, folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    models = ModelSettings(base=str(folder), seeds=())
    held = load_bank(models, SpectralSettings(rank=0), cache)
    assert held.model().generation_config.eos_token_id == [0, 2]


@pytest.mark.slow
def test_built_in_base_is_the_dequantised_file(tmp_path: Path) -> None:
    held = load_bank(ModelSettings(seeds=()), SpectralSettings(rank=0), tmp_path)
    file = _wheel_file()
    direct = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model = held.model()
    for name, tensor in direct.named_parameters():
        assert torch.equal(model.get_parameter(name), tensor), name
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    chat = [{"role": "user", "content": "Größe of 12 + 30?  Two  spaces"}]
    asked = [
        str(each.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        for each in (held.tokenizer, tokenizer)
    ]
    assert asked[0] == asked[1]
    assert held.tokenizer(asked[0])["input_ids"] == tokenizer(asked[1])["input_ids"]
