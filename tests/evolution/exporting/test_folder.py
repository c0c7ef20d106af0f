"""Exported experts: files that other programs load, whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3MoeConfig

from evolution.bank.bank import Bank, load_bank
from evolution.bank.checkpoints import open_checkpoint
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.transformers.engine import TransformersEngine
from evolution.errors import CheckpointError, ExportError
from evolution.exporting import export_expert, genome_of, write_checkpoint
from evolution.exporting.shards import INDEX
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise, rounded
from evolution.merging.regmean import merge_by_regmean, unit
from tests.conftest import make_family
from tests.evolution.conftest import models_of
from tests.evolution.engines.engine_cases import (
    SETTINGS,
    apart,
    ask,
    plain_scores,
    questions,
    scores,
    texts,
)
from tests.evolution.exporting.export_cases import ABOUT, mutant, sources
from tests.evolution.merging.regmean_cases import SETTINGS as MERGE
from tests.evolution.merging.regmean_cases import bank_with_adapters, members_of, naive

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


def logits_of(model: Any, tokenizer: Any) -> Tensor:
    tokens = tokenizer("What is the sum of 12 and 30?", return_tensors="pt")
    with torch.no_grad():
        logits: Tensor = model(**tokens).logits
    return logits


def said_by(model: Any, tokenizer: Any) -> Tensor:
    """Greedy tokens, by transformers' own loop."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Spell three."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    said: Tensor = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    return said


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
    assert torch.equal(said_by(loaded, tokenizer), said_by(engine, held.tokenizer))
    assert tokenizer.chat_template == held.tokenizer.chat_template
    assert loaded.generation_config.eos_token_id == engine.generation_config.eos_token_id
    tied = loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert tied is (which == "bank")
    assert tied is ("lm_head.weight" not in stored_names(written.folder))


async def test_a_merge_by_regmean_is_exported_and_answers_as_its_plain_model(
    tiny_family: TinyFamily, cache: Path, tmp_path: Path
) -> None:
    """The folder's logits and the engine's scores are those of the weights of the formula."""
    held = bank_with_adapters(tiny_family, tmp_path, cache)
    members = members_of(held, "delta", "epsilon")
    added = naive(held, members)
    anchors = merge_by_regmean("regmean-g0", held, members, MERGE)
    held.append(*anchors)
    genome = unit(held, anchors)
    plain = held.model(torch.float32)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_((held.base[name].double() + added[name]).to(held.dtype))
    about = replace(ABOUT, called={"regmean-g0.delta": "delta's part"})
    written = export_expert(held, genome, about, sources(tiny_family), tmp_path / "out")
    assert written.obstacle == (
        "the anchor regmean-g0.delta was merged by this run and is not a published checkpoint"
    )
    loaded = AutoModelForCausalLM.from_pretrained(written.folder, dtype=torch.float32)
    engine = held.model()
    materialise(held, genome, engine)
    assert torch.equal(logits_of(loaded, held.tokenizer), logits_of(engine.float(), held.tokenizer))
    # Of a few weights the last bit is another: they lie half-way between two numbers of bf16.
    base = held.model(torch.float32)
    wanted = logits_of(plain, held.tokenizer)
    far = (logits_of(base, held.tokenizer) - wanted).abs().mean()
    assert (logits_of(loaded, held.tokenizer) - wanted).abs().mean() < 0.01 * far
    prompts, said = questions(4), texts(4)
    served = TransformersEngine(
        held, SETTINGS["transformers"].model_copy(update={"compute": "float32"})
    )
    scored = await scores(served, genome, prompts, said)
    await served.close()
    assert apart(scored, plain_scores(held, genome, prompts, said)) < 1e-4
    recipe = json.loads((written.folder / "recipe.json").read_text())
    assert [anchor["name"] for anchor in recipe["anchors"]] == [each.name for each in anchors]
    assert held.genome_id(genome_of(held, recipe)) == held.genome_id(genome)
    card = (written.folder / "README.md").read_text()
    assert "| regmean-g0.epsilon | 1.000 |" in card
    assert "| delta's part (`regmean-g0.delta`) | 1.000 |" in card


async def answers(bank: Bank, genome: Genome) -> list[str]:
    engine = TransformersEngine(bank, SETTINGS["transformers"])
    replies = await ask(engine, genome, questions(8))
    await engine.close()
    return [reply.text for reply in replies]


@pytest.mark.parametrize(
    ("which", "models"), [("bank", "tiny_family"), ("qwen_bank", "tiny_qwen_family")]
)
async def test_an_export_in_shards_answers_as_its_genome_does(
    which: str, models: str, request: pytest.FixtureRequest, tmp_path: Path, cache: Path
) -> None:
    held: Bank = request.getfixturevalue(which)
    genome, place = mutant(held), sources(request.getfixturevalue(models))
    out = tmp_path / "out"
    export_expert(held, genome, ABOUT, place, out, shard_bytes=30_000)
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 2
    alone = load_bank(ModelSettings(base=str(out), seeds=()), SpectralSettings(rank=0), cache)
    read = dict(alone.base)
    for name, tensor in rounded(held, genome):
        assert torch.equal(read.pop(name), tensor), name
    assert not read
    said = await answers(held, genome)
    assert await answers(alone, alone.base_genome()) == said
    assert await answers(held, held.base_genome()) != said


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


def test_transformers_is_asked_once_how_it_stores_a_model(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It walks all modules each time: asked for every tensor, that takes longer than the sums."""
    asked: list[int] = []

    def counted(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        asked.append(len(tensors))
        return tensors

    monkeypatch.setattr("evolution.exporting.stored_names.revert_weight_conversion", counted)
    write_checkpoint(bank, mutant(bank), tmp_path)
    assert asked == [len(bank.layout.shapes)]


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
    assert written["skills"] == {"sum": 1.0, "spell": 0.0}


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
    assert (
        "of the 2 task families that it was graded on it passes 50% of the instances"
        in card.replace("Of", "of")
    )
    assert "More than half: sum (adds numbers)" in card
    assert "mergekit cannot express mutations of singular values" in card
    assert f"| base | {tiny_family.base.name}, content hash" in card


def test_what_the_card_says_under_use_makes_the_expert_speak(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_expert(bank, mutant(bank), ABOUT, sources(tiny_family), tmp_path / "out")
    _, _, use = (tmp_path / "out" / "README.md").read_text().partition("```python\n")
    program = use.partition("```")[0].replace('"."', repr(str(tmp_path / "out")))
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["reply"].shape[1] > names["prompt"]["input_ids"].shape[1]
    assert capsys.readouterr().out.strip()


def test_a_place_that_is_taken_is_left_alone(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("keep me")
    place, genome = sources(tiny_family), bank.base_genome()
    with pytest.raises(ExportError, match="not empty: choose another folder, or replace its model"):
        export_expert(bank, genome, ABOUT, place, out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(ExportError, match="is a file"):
        export_expert(bank, genome, ABOUT, place, out / "thesis.tex")
    export_expert(bank, mutant(bank), ABOUT, place, out, force=True, shard_bytes=30_000)
    export_expert(bank, genome, ABOUT, place, out, force=True)
    assert (out / "thesis.tex").read_text() == "keep me"
    assert [path.name for path in out.glob("*.safetensors*")] == ["model.safetensors"]


def test_a_run_is_never_replaced(bank: Bank, tiny_family: TinyFamily, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {}}')
    for force in (False, True):
        with pytest.raises(
            ExportError, match=r"config.json does not belong to a model: choose another folder$"
        ):
            export_expert(
                bank, bank.base_genome(), ABOUT, sources(tiny_family), tmp_path, force=force
            )
    assert (tmp_path / "config.json").read_text() == '{"config": {}}'


def test_an_export_that_fails_leaves_nothing_behind(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Iterator[tuple[str, Tensor]]:
        name, tensor = next(iter(rounded(bank, bank.base_genome())))
        yield name, tensor
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evolution.exporting.folder.rounded", full)
    with pytest.raises(ExportError, match="the disk is full: free some space"):
        export_expert(bank, bank.base_genome(), ABOUT, sources(tiny_family), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_half_replaced_does_not_look_whole(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, place = tmp_path / "out", sources(tiny_family)
    export_expert(bank, mutant(bank), ABOUT, place, out, shard_bytes=30_000)
    moved: list[Path] = []

    def unplugged(source: Path, target: Path) -> None:
        if len(moved) == 2:
            raise OSError(5, "Input/output error")
        moved.append(target)
        source.rename(target)

    monkeypatch.setattr("evolution.exporting.folder.os.replace", unplugged)
    with pytest.raises(ExportError, match="Input/output error"):
        export_expert(bank, bank.base_genome(), ABOUT, place, out, force=True)
    assert len(moved) == 2
    assert not (out / "config.json").exists()
    with pytest.raises(CheckpointError, match=r"neither config\.json nor"):
        open_checkpoint(out, "half")


@pytest.mark.slow
def test_vllm_loads_the_expert_that_the_engine_runs(
    bank: Bank, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = pytest.importorskip("vllm")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    # A fork of a process whose threads have computed may wait for them for ever.
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
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
