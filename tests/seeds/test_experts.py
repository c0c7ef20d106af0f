"""The seed experts as committed, and the table of domains that they were trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from seeds.domains import DOMAINS, GENERATORS, PASS_SCORE, Domain, Generator, domain_of
from seeds.lora import ALPHA, PREFIX, RANK, TARGETS

EXPERTS = Path(__file__).resolve().parents[2] / "seeds" / "experts"
LAYERS = 30
OUTPUTS_INPUTS = {
    "q_proj": (576, 576),
    "k_proj": (192, 576),
    "v_proj": (192, 576),
    "o_proj": (576, 576),
    "gate_proj": (1536, 576),
    "up_proj": (1536, 576),
    "down_proj": (576, 1536),
}
EVERY_GENERATOR = [each for domain in DOMAINS for each in GENERATORS[domain]]


def record(domain: Domain, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EXPERTS / domain / name).read_text())
    return content


def test_domains_are_disjoint_and_have_five_generators_each() -> None:
    counts = Counter(each.name for each in EVERY_GENERATOR)
    assert set(counts.values()) == {1}
    assert all(len(GENERATORS[domain]) >= 5 for domain in DOMAINS)
    assert domain_of("gcd") == "numbers"
    assert domain_of("sudoku") is None


@pytest.mark.parametrize("generator", EVERY_GENERATOR, ids=lambda each: each.name)
def test_oracle_answer_scores_one_on_one_line_and_seeds_decide(generator: Generator) -> None:
    first, again, other = (generator.dataset(seed, 12) for seed in (5, 5, 77))
    for index in range(12):
        entry = first[index]
        assert first.score_answer(entry["answer"], entry) >= PASS_SCORE
        assert "\n" not in entry["answer"]
        assert (entry["question"], entry["answer"]) == (
            again[index]["question"],
            again[index]["answer"],
        )
    texts = {first[index]["question"] for index in range(12)}
    assert any(other[index]["question"] not in texts for index in range(12))


@pytest.mark.parametrize("domain", DOMAINS)
def test_adapter_is_small_bf16_and_covers_all_linear_layers(domain: Domain) -> None:
    file = EXPERTS / domain / "adapter_model.safetensors"
    assert file.stat().st_size <= 10 * 1000 * 1000
    shapes: dict[str, tuple[int, ...]] = {}
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
            tensor = tensors.get_tensor(name)
            assert tensor.dtype == torch.bfloat16
            assert torch.isfinite(tensor).all()
            shapes[name] = tuple(tensor.shape)
    expected: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for target, (outputs, inputs) in OUTPUTS_INPUTS.items():
            room = "self_attn" if target in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
            stem = f"{PREFIX}model.layers.{layer}.{room}.{target}"
            expected[f"{stem}.lora_A.weight"] = (RANK, inputs)
            expected[f"{stem}.lora_B.weight"] = (outputs, RANK)
    assert shapes == expected


@pytest.mark.parametrize("domain", DOMAINS)
def test_adapter_config_is_peft_and_names_a_neutral_base(domain: Domain) -> None:
    config = record(domain, "adapter_config.json")
    assert config["peft_type"] == "LORA"
    assert config["base_model_name_or_path"] == "smollm2-135m-instruct"
    assert (config["r"], config["lora_alpha"]) == (RANK, ALPHA)
    assert set(config["target_modules"]) == set(TARGETS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_expert_is_skilled_at_home_and_at_most_half_as_good_abroad(domain: Domain) -> None:
    results = record(domain, "results.json")
    assert results["count"] >= 32
    assert set(results["home"]) == {each.name for each in GENERATORS[domain]}
    assert set(results["home"]) | set(results["abroad"]) == {e.name for e in EVERY_GENERATOR}
    assert 0.5 <= results["home_mean"] <= 0.85
    assert results["abroad_mean"] <= 0.5 * results["home_mean"]
    assert results["home_mean"] > results["base_home_mean"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_card_tells_base_data_recipe_and_accuracy(domain: Domain) -> None:
    card = (EXPERTS / domain / "README.md").read_text()
    training = record(domain, "training.json")
    assert training["base_sha256"] in card
    for stage in training["stages"]:
        steps, seed = stage["steps_done"], stage["recipe"]["seed"]
        assert f"{steps} steps" in card
        assert f"seed {seed}" in card
    trained = {each["name"] for each in training["stages"][-1]["generators"]}
    assert trained == {each.name for each in GENERATORS[domain]}
    assert "apache-2.0" in card
    assert all(f"| {each.name} |" in card for each in GENERATORS[domain])
