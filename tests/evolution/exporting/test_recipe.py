"""The mergekit recipe beside an export: mergekit makes the same weights of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import MergeSettings, SpectralSettings
from evolution.breeding.mutation import gaussian
from evolution.exporting import Sources, export_expert, mergekit_recipe
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded
from evolution.merging.merges import add_merges
from tests.evolution.conftest import models_of
from tests.evolution.exporting.export_cases import ABOUT, sources

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

HALF_UNIT = 2.0**-8
"""Half a unit in the last place of bf16, at most, relative to a number."""


def by_mergekit(exported: Path) -> dict[str, Tensor]:
    """What the command on the model card makes, run in the exported folder."""
    card = (exported / "README.md").read_text()
    [typed] = re.findall(r"`(mergekit-yaml .*?)`", card)
    arguments = shlex.split(typed.removeprefix("mergekit-yaml "))
    command = [sys.executable, "-m", "mergekit.scripts.run_yaml", *arguments, "--quiet"]
    subprocess.run(command, cwd=exported, check=True, capture_output=True)
    return load_file(exported / "OUT" / "model.safetensors")


def assert_same_but_for_rounding(bank: Bank, genome: Genome, theirs: Mapping[str, Tensor]) -> None:
    """Both round their sum once; ours is made of rounded differences, from a base in bf16.

    A difference is within a quarter of a unit of the weight that it leads to. Where the mean of the
    seeds is the base, mergekit does not round it, and what is left of it differs by half a unit.
    """
    seeds = [dict(rounded(bank, bank.seed_genome(anchor.name))) for anchor in bank.anchors]
    for name, ours in rounded(bank, genome):
        rows = genome.coefficients[bank.layout.tensor_blocks[name]].tolist()
        allowed = 2.0 * HALF_UNIT * ours.float().abs() + 1e-7
        allowed += abs(1.0 - sum(rows)) * HALF_UNIT * bank.base[name].float().abs()
        for coefficient, seed in zip(rows, seeds, strict=True):
            allowed += abs(coefficient) * HALF_UNIT / 2.0 * seed[name].float().abs()
        apart = (theirs[name].float() - ours.float()).abs()
        assert bool((apart <= allowed).all()), f"{name}: {float((apart - allowed).max())}"
        assert not torch.equal(ours, bank.base[name])


def by_blocks(bank: Bank) -> Genome:
    rows = np.random.default_rng(1).uniform(-0.3, 1.0, (len(bank.blocks), len(bank.anchors)))
    return Genome(rows.astype(np.float32))


@pytest.mark.parametrize("base", [True, False])
def test_mergekit_makes_the_same_weights_of_its_recipe(
    base: bool, tiny_family: TinyFamily, cache: Path, tmp_path: Path
) -> None:
    held = load_bank(models_of(tiny_family, base=base), SpectralSettings(rank=4), cache)
    genome, out = by_blocks(held), tmp_path / "out"
    assert export_expert(held, genome, ABOUT, sources(tiny_family, base=base), out).obstacle is None
    assert_same_but_for_rounding(held, genome, by_mergekit(out))


def test_mergekit_merges_adapters_by_the_recipe_and_so_do_we(
    tiny_family: TinyFamily, adapter: Path, cache: Path, tmp_path: Path
) -> None:
    """The built-in seeds are adapters: mergekit asks where to put the models it makes of them."""
    models = models_of(tiny_family, adapter)
    held = load_bank(models, SpectralSettings(rank=4), cache)
    seeds = {seed.name: seed.path for seed in models.seeds}
    place = Sources(str(tiny_family.base), seeds, frozenset({"delta"}))
    genome, out = by_blocks(held), tmp_path / "out"
    assert export_expert(held, genome, ABOUT, place, out).obstacle is None
    theirs = by_mergekit(out)
    assert_same_but_for_rounding(held, genome, theirs)
    add_merges(held, [MergeSettings(name="again", config=str(out / "mergekit.yml"))], tmp_path)
    for name, tensor in rounded(held, held.seed_genome("again")):
        torch.testing.assert_close(tensor, theirs[name], rtol=2 * HALF_UNIT, atol=1e-6)


def test_what_mergekit_cannot_express_is_said(bank: Bank, tiny_family: TinyFamily) -> None:
    place = sources(tiny_family)
    assert mergekit_recipe(bank, bank.base_genome(), place)[0] is not None
    _, why = mergekit_recipe(bank, bank.seed_genome("delta"), place)
    assert why == "the anchor delta was merged by this run and is not a published checkpoint"
    rng = np.random.default_rng(0)
    noisy, _ = gaussian(bank.base_genome(), bank.geometry, rng)
    assert (
        mergekit_recipe(bank, noisy, place)[1]
        == "mergekit cannot express mutations of single weights"
    )
    lora = Sources(place.base, {"delta": "/adapters/delta"}, frozenset({"delta"}))
    text, _ = mergekit_recipe(bank, bank.seed_genome("delta"), lora)
    assert yaml.safe_load(str(text))["models"][0]["model"] == f"{place.base}+/adapters/delta"
