"""Exported experts: files that other programs load, whole or not there at all."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3MoeConfig

from evolution.bank import Bank, load_bank
from evolution.errors import ExportError
from evolution.exporting import (
    About,
    Skill,
    Sources,
    export_expert,
    genome_of,
    mergekit_recipe,
)
from evolution.exporting.shards import INDEX, write_shards
from evolution.genome import Genome
from evolution.materialise import materialise, rounded
from evolution.mutation import gaussian, spectral
from evolution.settings import SpectralSettings
from memory.records import Expert
from tests.conftest import make_family

from .conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

PARENT = Expert(id="alpha", genome_id="0", generation=0, birth=1, operator="seed")
EXPERT = Expert(
    id="g2-1",
    genome_id="1",
    generation=2,
    birth=1,
    operator="linear+spectral",
    parents=("alpha", "beta"),
    rng_seed=7,
)
ABOUT = About(
    EXPERT, "tiny", [PARENT], [Skill("sum", "adds numbers", True), Skill("spell", "spells", False)]
)


def sources(family: TinyFamily, *, base: bool = True) -> Sources:
    seeds = {name: str(folder) for name, folder in family.seeds.items()}
    return Sources(str(family.base) if base else None, seeds)


def mutant(bank: Bank) -> Genome:
    rng = np.random.default_rng(0)
    plain = Genome(rng.uniform(-0.5, 1.0, (len(bank.blocks), len(bank.anchors))))
    return gaussian(spectral(plain, bank.geometry, rng)[0], bank.geometry, rng)[0]


def logits_of(model: Any, tokenizer: Any) -> Tensor:
    tokens = tokenizer("What is the sum of 12 and 30?", return_tensors="pt")
    with torch.no_grad():
        logits: Tensor = model(**tokens).logits
    return logits


@pytest.mark.parametrize(
    ("which", "models"), [("bank", "tiny_family"), ("qwen_bank", "tiny_qwen_family")]
)
def test_transformers_loads_the_expert_that_the_engine_runs(
    which: str, models: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    held: Bank = request.getfixturevalue(which)
    place = sources(request.getfixturevalue(models))
    genome = mutant(held)
    written = export_expert(held, genome, ABOUT, place, tmp_path / "out", shard_bytes=50_000)
    assert written.weight_bytes == sum(tensor.nbytes for _, tensor in rounded(held, genome))
    loaded = AutoModelForCausalLM.from_pretrained(written.folder, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(written.folder)
    engine = held.model()
    materialise(held, genome, engine)
    assert torch.equal(logits_of(loaded, tokenizer), logits_of(engine, held.tokenizer))
    assert tokenizer.chat_template == held.tokenizer.chat_template
    assert loaded.generation_config.eos_token_id == engine.generation_config.eos_token_id
    tied = loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert tied is (which == "bank")
    assert tied is ("lm_head.weight" not in stored_names(written.folder))


def stored_names(folder: Path) -> set[str]:
    return {name for file in folder.glob("*.safetensors") for name in load_file(file)}


def test_shards_are_no_larger_than_asked_and_the_index_names_every_tensor(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_expert(bank, mutant(bank), ABOUT, sources(tiny_family), out, shard_bytes=30_000)
    shards = sorted(out.glob("model-*-of-*.safetensors"))
    assert len(shards) > 2
    for shard in shards:
        tensors = load_file(shard)
        assert len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= 30_000
    index = json.loads((out / INDEX).read_text())
    assert set(index["weight_map"]) == set(bank.layout.shapes)
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}


def test_no_more_than_one_tensor_is_held(tmp_path: Path) -> None:
    held: list[weakref.ref[Tensor]] = []

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for index in range(6):
            assert sum(reference() is not None for reference in held) <= 1
            tensor = torch.full((100,), float(index), dtype=torch.bfloat16)
            held.append(weakref.ref(tensor))
            yield f"t{index}", tensor
            del tensor

    shapes = {f"t{index}": (100,) for index in range(6)}
    assert write_shards(tmp_path, shapes, tensors(), torch.bfloat16, 500) == 1200
    for file in tmp_path.glob("*.safetensors"):
        for name, tensor in load_file(file).items():
            assert tensor.tolist() == [float(name[1:])] * 100


def test_a_tensor_that_was_not_announced_is_refused(tmp_path: Path) -> None:
    wrong = [("a", torch.zeros(3, dtype=torch.bfloat16))]
    with pytest.raises(ExportError, match=r"expected tensor a \(2,\)"):
        write_shards(tmp_path, {"a": (2,)}, wrong, torch.bfloat16)
    with pytest.raises(ExportError, match="got nothing"):
        write_shards(tmp_path, {"a": (2,)}, [], torch.bfloat16)
    with pytest.raises(ExportError, match="more tensors"):
        write_shards(tmp_path, {}, wrong, torch.bfloat16)


def test_a_mixture_of_experts_is_stored_under_the_names_of_its_checkpoint(
    tmp_path: Path, cache: Path
) -> None:
    def config(**shape: Any) -> Qwen3MoeConfig:
        few: dict[str, Any] = {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
        }
        return Qwen3MoeConfig(**shape, **few)

    family = make_family(tmp_path / "moe", config, tied=False)
    held = load_bank(models_of(family), SpectralSettings(rank=4), cache)
    genome = held.seed_genome("beta")
    out = tmp_path / "out"
    export_expert(held, genome, ABOUT, sources(family), out)
    assert stored_names(out) == stored_names(family.base)
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    engine = held.model()
    materialise(held, genome, engine)
    assert torch.equal(logits_of(loaded, held.tokenizer), logits_of(engine, held.tokenizer))


def test_the_recipe_gives_the_genome_back(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    genome = mutant(bank)
    export_expert(bank, genome, ABOUT, sources(tiny_family), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert bank.genome_id(genome_of(bank, written)) == bank.genome_id(genome) == written["genome"]
    assert written["expert"]["parents"] == ["alpha", "beta"]
    assert [ancestor["id"] for ancestor in written["lineage"]] == ["alpha"]
    assert written["skills"] == {"sum": True, "spell": False}


def test_the_card_tells_recipe_lineage_and_skills(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    export_expert(bank, mutant(bank), ABOUT, sources(tiny_family), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "transformers"
    assert "# g2-1 of tiny" in card
    assert "| alpha | 0 | seed | - |" in card
    assert "| g2-1 | 2 | linear+spectral | alpha, beta |" in card
    assert "passes 1 of the 2" in card
    assert "Passed: sum (adds numbers)" in card
    assert "mutations of singular values are beyond mergekit" in card


@pytest.mark.parametrize("base", [True, False])
def test_mergekit_makes_the_same_weights_of_its_recipe(
    base: bool, tiny_family: TinyFamily, cache: Path, tmp_path: Path
) -> None:
    held = load_bank(models_of(tiny_family, base=base), SpectralSettings(rank=4), cache)
    rows = np.random.default_rng(1).uniform(-0.3, 1.0, (len(held.blocks), 3))
    genome = Genome(rows)
    text, obstacle = mergekit_recipe(held, genome, sources(tiny_family, base=base))
    assert obstacle is None
    assert text is not None
    (tmp_path / "merge.yml").write_text(text)
    command = [sys.executable, "-m", "mergekit.scripts.run_yaml", "merge.yml", "out", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = load_file(tmp_path / "out" / "model.safetensors")
    for name, ours in rounded(held, genome):
        # Ours is off by the rounding of the difference, both by that of the result.
        assert torch.allclose(theirs[name].float(), ours.float(), rtol=2**-6, atol=2e-3), name


def test_what_mergekit_cannot_express_is_said(bank: Bank, tiny_family: TinyFamily) -> None:
    place = sources(tiny_family)
    assert mergekit_recipe(bank, bank.base_genome(), place)[0] is not None
    _, why = mergekit_recipe(bank, bank.seed_genome("delta"), place)
    assert why == "the anchor delta was merged here and is no checkpoint of its own"
    rng = np.random.default_rng(0)
    noisy, _ = gaussian(bank.base_genome(), bank.geometry, rng)
    assert (
        mergekit_recipe(bank, noisy, place)[1] == "mutations of single weights are beyond mergekit"
    )
    lora = Sources(place.base, {"delta": "/adapters/delta"}, frozenset({"delta"}))
    text, _ = mergekit_recipe(bank, bank.seed_genome("delta"), lora)
    assert yaml.safe_load(str(text))["models"][0]["model"] == f"{place.base}+/adapters/delta"


def test_a_place_that_is_taken_is_left_alone(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("keep me")
    place, genome = sources(tiny_family), bank.base_genome()
    with pytest.raises(ExportError, match="not empty: name another folder, or replace it with"):
        export_expert(bank, genome, ABOUT, place, out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(ExportError, match="is a file"):
        export_expert(bank, genome, ABOUT, place, out / "thesis.tex")
    export_expert(bank, mutant(bank), ABOUT, place, out, force=True, shard_bytes=30_000)
    export_expert(bank, genome, ABOUT, place, out, force=True)
    assert (out / "thesis.tex").read_text() == "keep me"
    assert [path.name for path in out.glob("*.safetensors*")] == ["model.safetensors"]


def test_an_export_that_fails_leaves_nothing_behind(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Iterator[tuple[str, Tensor]]:
        name, tensor = next(iter(rounded(bank, bank.base_genome())))
        yield name, tensor
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evolution.exporting.folder.rounded", full)
    with pytest.raises(ExportError, match="No space left on device"):
        export_expert(bank, bank.base_genome(), ABOUT, sources(tiny_family), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_vllm_loads_the_expert_that_the_engine_runs(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = pytest.importorskip("vllm")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    genome = mutant(bank)
    export_expert(bank, genome, ABOUT, sources(tiny_family), tmp_path / "out")
    tokens = bank.tokenizer("What is the sum of 12 and 30?")["input_ids"]
    loaded = vllm.LLM(str(tmp_path / "out"), enforce_eager=True, max_model_len=256)
    sampling = vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
    [reply] = loaded.generate([{"prompt_token_ids": tokens}], sampling)
    found = [
        entry[token].logprob
        for token, entry in zip(tokens[1:], reply.prompt_logprobs[1:], strict=True)
    ]
    engine = bank.model()
    materialise(bank, genome, engine)
    with torch.no_grad():
        wanted = engine(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    for place, (token, logprob) in enumerate(zip(tokens[1:], found, strict=True)):
        # Both compute in bf16, with kernels of their own.
        assert logprob == pytest.approx(float(wanted[place, token]), abs=0.15)
