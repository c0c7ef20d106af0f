"""The witness of reading sees a seed that is read otherwise than the libraries read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from transformers import BloomConfig

from evolution.bank.bank import load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.engines.witness import witness, witness_bytes
from evolution.errors import EngineError
from tests.conftest import make_family
from tests.evolution.conftest import models_of, write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


def settings(family: TinyFamily, folder: Path) -> tuple[ModelSettings, dict[str, Path]]:
    """A base, a full seed and two adapters that may be changed."""
    places = {"base": family.base, "full": family.seeds["alpha"]}
    copies = {name: Path(shutil.copytree(old, folder / name)) for name, old in places.items()}
    copies |= {name: write_adapter(folder / name, seed) for seed, name in enumerate(("one", "two"))}
    seeds = tuple(SeedSettings(name=n, path=str(p)) for n, p in copies.items() if n != "base")
    return ModelSettings(base=str(copies["base"]), seeds=seeds), copies


@pytest.mark.parametrize("in_engine", [True, False])
@pytest.mark.parametrize(
    ("name", "file", "values"),
    [
        ("base", "config.json", {"rms_norm_eps": 0.5}),
        ("full", "config.json", {"rms_norm_eps": 0.5}),
        ("one", "adapter_config.json", {"lora_alpha": 9}),
        ("two", "adapter_config.json", {"target_modules": ["q_proj"]}),
        ("two", "adapter_config.json", {"use_rslora": True}),
    ],
)
def test_what_is_read_otherwise_is_further_apart_than_rounding_explains(
    name: str,
    file: str,
    values: dict[str, Any],
    in_engine: bool,
    tiny_family: TinyFamily,
    tmp_path: Path,
) -> None:
    models, places = settings(tiny_family, tmp_path)
    bank = load_bank(models, SpectralSettings(rank=0), tmp_path / "cache")
    seen = {each.name: each for each in witness(bank, in_engine)}
    assert set(seen) == {"base", "one", "two", "full"}
    assert all(each.apart <= each.most for each in seen.values())
    # As if it had been read so: the bank is what it was.
    stated = places[name] / file
    stated.write_text(json.dumps({**json.loads(stated.read_text()), **values}))
    again = {each.name: each for each in witness(bank, in_engine)}
    assert again[name].apart > again[name].most
    assert again[name].apart > seen[name].apart
    assert witness_bytes(bank) > 0


def test_a_mean_of_seeds_has_nothing_to_be_compared_with(
    tiny_family: TinyFamily, tmp_path: Path
) -> None:
    bank = load_bank(models_of(tiny_family, base=False), SpectralSettings(rank=0), tmp_path)
    assert {each.name for each in witness(bank)} == {"alpha", "beta", "gamma"}


def test_an_architecture_that_the_engine_cannot_serve_is_named(tmp_path: Path) -> None:
    family = make_family(tmp_path / "bloom", BloomConfig, tied=True)
    bank = load_bank(models_of(family), SpectralSettings(rank=0), tmp_path / "cache")
    with pytest.raises(EngineError, match="cannot serve BloomForCausalLM"):
        list(witness(bank))
    assert len(list(witness(bank, in_engine=False))) == 4
