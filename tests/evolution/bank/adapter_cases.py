"""What PEFT can write, and what becomes of it: read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    "one layer": {"layers_to_transform": 0},
    "without some": {"exclude_modules": ["q_proj"]},
    "without some by pattern": {"exclude_modules": r".*layers\.0.*q_proj"},
    "targets by pattern": {"target_modules": r".*\.(?:q|v)_proj|.*layers\.1\.mlp\.down_proj"},
    "all linear": {"target_modules": "all-linear"},
    "patterns that are expressions": {
        "alpha_pattern": {r"layers\.\d+\.self_attn\.[qv]_proj": 3, "(?:x|down)_proj": 5}
    },
    "the first pattern decides": {"alpha_pattern": {"q_proj": 3, "self_attn.q_proj": 9}},
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


ADAPTERS = {**READ, **{name: changes for name, (changes, _) in REFUSED.items()}}


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


def adapter_outcome(changes: Mapping[str, Any], family: TinyFamily, folder: Path) -> str:
    """`read`, or the line that refuses it.

    Raises:
        AssertionError: it weighs otherwise than PEFT merges it.
    """
    adapter = write(family.base, folder / "adapter", changes)
    try:
        bank = open_bank(family, adapter, folder / "cache")
    except CheckpointError as error:
        return str(error)
    fresh = AutoModelForCausalLM.from_pretrained(family.base, dtype=torch.float32)
    base = {name: tensor.clone() for name, tensor in fresh.named_parameters()}
    merged = PeftModel.from_pretrained(fresh, adapter).merge_and_unload()
    wanted = dict(merged.named_parameters())
    changed = 0
    for name, found in weigh(bank, bank.seed_genome("tuned")):
        assert torch.allclose(found.float(), wanted[name], atol=1e-5), name
        changed += not torch.equal(wanted[name], base[name])
    assert changed, "the adapter does nothing, so nothing was compared"
    return "read"
