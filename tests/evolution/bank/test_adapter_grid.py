"""Whatever PEFT can write weighs as PEFT reads it, or is refused by name: no third outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from evolution.bank.bank import load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.errors import CheckpointError
from evolution.materialise.weights import weigh

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

READ: dict[str, dict[str, Any]] = {
    "plain": {},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "random": {"init_lora_weights": False},
    "rank-stabilised": {"use_rslora": True},
    "alpha by pattern": {"alpha_pattern": {"q_proj": 3, "layers.1.mlp.down_proj": 32}},
    "rank by pattern": {"rank_pattern": {"down_proj": 2}},
    "both, rank-stabilised": {
        "use_rslora": True,
        "alpha_pattern": {"v_proj": 1},
        "rank_pattern": {"v_proj": 8},
    },
    "anchored pattern": {"alpha_pattern": {"^model.layers.0.mlp.down_proj": 5}},
    "dropout": {"lora_dropout": 0.3},
    "some layers": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "without some": {"exclude_modules": ["q_proj"]},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "PiSSA": ({"init_lora_weights": "pissa"}, "init_lora_weights"),
    "PiSSA, fast": ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
    "OLoRA": ({"init_lora_weights": "olora"}, "init_lora_weights"),
    "replicated layers": ({"layer_replication": [[0, 1], [0, 1]]}, "layer_replication"),
    "DoRA": ({"use_dora": True}, "use_dora"),
    "biases": ({"bias": "lora_only"}, "bias"),
    "biases of factors": ({"lora_bias": True}, "lora_bias"),
    "modules in full": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "single tokens": ({"trainable_token_indices": [3, 5]}, "trainable_token_indices"),
}


def write(base: Path, folder: Path, changes: Mapping[str, Any]) -> Path:
    """An adapter with random factors, as PEFT saves it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings: dict[str, Any] = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "task_type": "CAUSAL_LM",
        **changes,
    }
    adapted = get_peft_model(model, LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name and parameter.dim() == 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(str(folder))
    return folder


def open_bank(family: TinyFamily, adapter: Path, cache: Path) -> Any:
    models = ModelSettings(
        base=str(family.base), seeds=(SeedSettings(name="tuned", path=str(adapter)),)
    )
    return load_bank(models, SpectralSettings(rank=4), cache)


@pytest.mark.parametrize("changes", READ.values(), ids=READ)
def test_what_is_read_weighs_as_peft_merges_it(
    changes: dict[str, Any], tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write(tiny_family.base, tmp_path / "adapter", changes)
    bank = open_bank(tiny_family, adapter, tmp_path / "cache")
    fresh = AutoModelForCausalLM.from_pretrained(tiny_family.base, dtype=torch.float32)
    base = {name: tensor.clone() for name, tensor in fresh.named_parameters()}
    merged = PeftModel.from_pretrained(fresh, adapter).merge_and_unload()
    wanted = dict(merged.named_parameters())
    changed = 0
    for name, found in weigh(bank, bank.seed_genome("tuned")):
        assert torch.allclose(found.float(), wanted[name], atol=1e-5), name
        changed += not torch.equal(wanted[name], base[name])
    assert changed, "the adapter does nothing, so nothing was compared"


@pytest.mark.parametrize(("changes", "key"), REFUSED.values(), ids=REFUSED)
def test_what_means_something_else_is_refused_by_name(
    changes: dict[str, Any], key: str, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write(tiny_family.base, tmp_path / "adapter", changes)
    with pytest.raises(CheckpointError, match=key):
        open_bank(tiny_family, adapter, tmp_path / "cache")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a_key_of_the_future", {"on": True}),
        ("init_lora_weights", "a_method_of_the_future"),
        ("lora_alpha", None),
        ("lora_alpha", "much"),
        ("lora_alpha", float("nan")),
        ("alpha_pattern", {"(": 3}),
        ("alpha_pattern", ["q_proj"]),
    ],
)
def test_what_is_not_known_or_absurd_is_refused_in_a_line(
    key: str, value: Any, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write(tiny_family.base, tmp_path / "adapter", {})
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=key) as refusal:
        open_bank(tiny_family, adapter, tmp_path / "cache")
    assert "\n" not in str(refusal.value)
