"""Whatever the files of a checkpoint hold, it is read, or refused in one line that names them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evolution.bank.bank import load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.errors import BankError, EvolutionError
from evolution.planning.sizes import measure_sizes
from tests.evolution.conftest import write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

Spoil = Callable[[Path], object]

NUMBERS: dict[str, Any] = {
    "null": None,
    "text": "many",
    "NaN": float("nan"),
    "zero": 0,
    "negative": -64,
    "huge": 10**12,
    "beyond": 10**40,
    "list": [64],
    "table": {"of": 64},
    "true": True,
}
SIZES = (
    "hidden_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "rms_norm_eps",
    "max_position_embeddings",
)
HARMLESS = {("head_dim", "null")}
"""What transformers takes as well, and computes with or fills in."""


def change(folder: Path, name: str, **values: Any) -> None:
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def overlapping(folder: Path) -> None:
    """The header says that two tensors begin at the same place."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    first, second, *_ = (key for key in header if key != "__metadata__")
    header[second]["data_offsets"] = header[first]["data_offsets"]
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def strangers(folder: Path, count: int) -> None:
    """So many more tensors without a number in them."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = len(content) - 8 - length
    header |= {
        f"stranger.{i}": {"dtype": "BF16", "shape": [0], "data_offsets": [end, end]}
        for i in range(count)
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def replaced(name: str, by: str) -> Spoil:
    """Something else in the place of a file."""

    def spoil(folder: Path) -> None:
        file = folder / name
        file.unlink(missing_ok=True)
        if by == "folder":
            file.mkdir()
        elif by == "fifo":
            os.mkfifo(file)
        elif by == "device":
            file.symlink_to("/dev/zero")
        elif by == "nothing":
            file.symlink_to("nowhere")
        else:
            file.write_text(by)

    return spoil


DEEP = "[" * 100_000
FILES: dict[str, tuple[Spoil, str]] = {
    f"{name} is a {by}": (replaced(name, by), name)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json")
    for by in ("folder", "fifo", "device", "nothing")
}
FILES |= {
    f"{name} {what}": (replaced(name, text), name.removesuffix(".json"))
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    for what, text in {
        "broken": '{"a": ',
        "nested": '{"a": ' + DEEP,
        "empty": "",
        "a list": "[]",
        "not text": "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    }.items()
}
FILES |= {
    "header of absurd length": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
        "model.safetensors",
    ),
    "header that is no JSON": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (8).to_bytes(8, "little") + b"{" * 8
        ),
        "model.safetensors",
    ),
    "tensors overlap": (overlapping, "model.safetensors"),
}


def refused(base: Path, seeds: dict[str, Path], tmp_path: Path, word: str) -> None:
    """In one line that holds the word, and by what plans memory at least not with another error."""
    models = ModelSettings(
        base=str(base), seeds=tuple(SeedSettings(name=n, path=str(p)) for n, p in seeds.items())
    )
    with pytest.raises(BankError) as caught:
        load_bank(models, SpectralSettings(rank=0), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert word in str(caught.value)
    planned(models, tmp_path)


def planned(models: ModelSettings, tmp_path: Path) -> None:
    with suppress(EvolutionError):
        measure_sizes(models, SpectralSettings(rank=0), tmp_path / "cache")


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_is_none(key: str, value: str, tiny_family: TinyFamily, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_family.base, tmp_path / "base"))
    change(base, "config.json", **{key: NUMBERS[value]})
    if (key, value) in HARMLESS:
        models = ModelSettings(base=str(base), seeds=())
        load_bank(models, SpectralSettings(rank=0), tmp_path / "cache")
        planned(models, tmp_path)
    else:
        refused(base, {}, tmp_path, "config.json")


@pytest.mark.parametrize(("spoil", "word"), FILES.values(), ids=FILES)
def test_a_file_that_is_none(
    spoil: Spoil, word: str, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_family.base, tmp_path / "base"))
    spoil(base)
    refused(base, {}, tmp_path, word)


def test_half_a_million_names_are_read(tiny_family: TinyFamily, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_family.base, tmp_path / "base"))
    strangers(base, 500_000)
    models = ModelSettings(base=str(base), seeds=())
    bank = load_bank(models, SpectralSettings(rank=0), tmp_path / "cache")
    assert set(bank.base) == set(bank.layout.shapes)


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
TEMPLATES = {
    "loops": f"{ENDLESS}{'{% endfor %}' * 3}",
    "computes": "{{ 9 ** (9 ** (9 ** 9)) }}",
    "recurses": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "divides by zero": "{{ 1 / 0 }}",
    "grows": "{{ 'words ' * 99999999999 }}",
    "talks": "{% for a in range(99999) %}words {% endfor %}",
    "is nested": "{% if true %}" * 5000,
    "is broken": "{% for",
    "refuses": "{{ raise_exception('never') }}",
    "reaches for more": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "reads what is not there": "{{ messages[9]['content'].upper() }}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_chat_template_that_does_no_good(
    template: str, tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolution.bank.limits.SECONDS", 1)
    base = Path(shutil.copytree(tiny_family.base, tmp_path / "base"))
    (base / "chat_template.jinja").write_text(template)
    refused(base, {}, tmp_path, "chat template")


@pytest.mark.parametrize("template", [7, ["a"], {"default": 3}, [{"name": "default"}]])
def test_a_chat_template_that_is_no_text(
    template: Any, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_family.base, tmp_path / "base"))
    (base / "chat_template.jinja").unlink(missing_ok=True)
    change(base, "tokenizer_config.json", chat_template=template)
    refused(base, {}, tmp_path, "token" if isinstance(template, list) else "chat template")


SLOW = "(?:(?:\\w*\\.?)*)*X"
ADAPTERS: dict[str, tuple[dict[str, Any], str]] = {
    f"{key} is {name}": ({key: value}, key)
    for key in ("r", "lora_alpha")
    for name, value in NUMBERS.items()
    if name not in ("zero", "negative", "huge", "beyond") or key == "r"
}
ADAPTERS |= {
    "patterns are a list": ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
    "targets are a number": ({"target_modules": 3}, "target_modules"),
    "targets are numbers": ({"target_modules": [3]}, "target_modules"),
    "no targets": ({"target_modules": None}, "target_modules"),
    "other targets": ({"target_modules": ["q_proj", "v_proj"]}, "down_proj"),
    "other layers": ({"layers_to_transform": [1]}, "layers.0"),
    "layers are text": ({"layers_to_transform": ["1"]}, "layers_to_transform"),
    "excluded": ({"exclude_modules": ["v_proj"]}, "v_proj"),
    "excluded by pattern": ({"exclude_modules": ".*v_proj"}, "v_proj"),
    "another rank": ({"rank_pattern": {"q_proj": 7}}, "rank 4"),
}
ADAPTERS |= {
    f"{key} {name}": ({key: pattern if key.endswith("modules") else {pattern: 4}}, key)
    for name, pattern in {"is no pattern": "(", "takes for ever": SLOW}.items()
    for key in ("target_modules", "exclude_modules", "rank_pattern", "alpha_pattern")
}


@pytest.mark.parametrize(("changes", "word"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_configuration_that_means_nothing(
    changes: dict[str, Any],
    word: str,
    tiny_family: TinyFamily,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("evolution.bank.limits.SECONDS", 1)
    adapter = write_adapter(tmp_path / "adapter")
    change(adapter, "adapter_config.json", **changes)
    refused(tiny_family.base, {"bad": adapter}, tmp_path, word)


ADAPTER_FILES: dict[str, tuple[Spoil, str]] = {
    f"{name} {by[:9]}": (replaced(name, by), name)
    for name in ("adapter_config.json", "adapter_model.safetensors")
    for by in ("folder", "fifo", "device", "nothing", "", '{"a": ', DEEP, "[]")
}


@pytest.mark.parametrize(("spoil", "word"), ADAPTER_FILES.values(), ids=ADAPTER_FILES)
def test_a_file_of_an_adapter_that_is_none(
    spoil: Spoil, word: str, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    spoil(adapter)
    refused(tiny_family.base, {"bad": adapter}, tmp_path, word)


def test_factors_without_a_rank(tiny_family: TinyFamily, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    empty = {
        name: tensor[:0] if "lora_A" in name else tensor[:, :0].contiguous()
        for name, tensor in load_file(file).items()
    }
    save_file(empty, file)
    change(adapter, "adapter_config.json", r=0)
    refused(tiny_family.base, {"bad": adapter}, tmp_path, "rank 0")


@pytest.mark.parametrize("form", ["{module}.lora_A.weight", "base_model.model.{module}.lora_A.x"])
def test_factors_under_names_that_peft_would_pass_over(
    form: str, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = form.format(module="model.layers.0.self_attn.q_proj")
    save_file({**tensors, name: torch.zeros(4, 64)}, file)
    refused(tiny_family.base, {"bad": adapter}, tmp_path, name)
