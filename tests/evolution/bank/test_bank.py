from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.breeding.breed import breed, random_genome
from evolution.breeding.settings import BreedingSettings
from evolution.errors import BankError, GenomeError
from evolution.genome.genome import Genome
from evolution.materialise.weights import expected_checksum, rounded
from tests.evolution.conftest import models_of, write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

ASK = """
import sys
from pathlib import Path
from evolution.bank.bank import load_bank
from evolution.genome.genome import Genome
from evolution.bank.settings import ModelSettings, SpectralSettings
models, genome, cache = sys.argv[1:]
bank = load_bank(ModelSettings.model_validate_json(models), SpectralSettings(rank=16), Path(cache))
print(bank.content_hash, bank.genome_id(Genome.from_bytes(bytes.fromhex(genome))))
"""


def test_ids_are_the_same_in_another_process(
    bank: Bank, tiny_family: TinyFamily, adapter: Path, tmp_path: Path
) -> None:
    genome = random_genome(bank, 1, BreedingSettings())
    models = models_of(tiny_family, adapter).model_dump_json()
    arguments = [models, genome.to_bytes().hex(), str(tmp_path / "other-cache")]
    done = subprocess.run(
        [sys.executable, "-c", ASK, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [bank.content_hash, bank.genome_id(genome)]


def test_a_graft_changes_no_earlier_id_and_no_earlier_weights(
    new_bank: Callable[[], Bank], tmp_path: Path
) -> None:
    bank = new_bank()
    old = [
        bank.base_genome(),
        bank.seed_genome("beta"),
        random_genome(bank, 1, BreedingSettings()),
        breed(
            bank, [bank.seed_genome("alpha"), bank.seed_genome("delta")], 0, BreedingSettings()
        ).genome,
    ]
    ids = [bank.genome_id(genome) for genome in old]
    sums = [expected_checksum(bank, genome) for genome in old]
    content = bank.content_hash
    bank.graft("epsilon", str(write_adapter(tmp_path / "epsilon", seed=5, size=5.0)))
    assert [bank.genome_id(genome) for genome in old] == ids
    assert [expected_checksum(bank, genome) for genome in old] == sums
    assert bank.content_hash != content
    assert "epsilon" not in bank.seed_names
    assert bank.geometry.anchors == 5
    child = breed(bank, [old[2], bank.seed_genome("epsilon")], 0, BreedingSettings()).genome
    assert child.coefficients[:, 4].any()
    with pytest.raises(BankError, match="already has an anchor 'epsilon'"):
        bank.graft("epsilon", str(tmp_path / "epsilon"))
    with pytest.raises(BankError, match="no checkpoint at"):
        bank.graft("zeta", str(tmp_path / "zeta"))
    assert len(bank.anchors) == 5


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_an_id_follows_content_and_nothing_else(bank: Bank, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genome = Genome(rng.normal(size=(len(bank.blocks), 4)), {bank.layout.matrices[0]: np.ones(16)})
    assert bank.genome_id(Genome.from_bytes(genome.to_bytes())) == bank.genome_id(genome)
    changed = genome.coefficients.copy()
    changed[rng.integers(len(bank.blocks)), rng.integers(4)] += 1e-3
    assert bank.genome_id(Genome(changed, genome.displacements)) != bank.genome_id(genome)
    assert bank.genome_id(Genome(genome.coefficients)) != bank.genome_id(genome)


def test_an_id_does_not_depend_on_the_order_of_anchors(
    bank: Bank, tiny_family: TinyFamily, adapter: Path, cache: Path
) -> None:
    models = models_of(tiny_family, adapter)
    turned = ModelSettings(base=models.base, seeds=models.seeds[::-1])
    other = load_bank(turned, SpectralSettings(rank=16), cache)
    assert other.seed_names == ("base", "delta", "gamma", "beta", "alpha")
    for name in bank.seed_names[1:]:
        assert other.genome_id(other.seed_genome(name)) == bank.genome_id(bank.seed_genome(name))


def test_the_basis_counts_only_where_something_is_displaced(
    bank: Bank, tiny_family: TinyFamily, adapter: Path, cache: Path
) -> None:
    other = load_bank(models_of(tiny_family, adapter), SpectralSettings(rank=16, seed=1), cache)
    plain = bank.seed_genome("alpha")
    moved = Genome(plain.coefficients, {bank.layout.matrices[0]: np.ones(16)})
    assert other.genome_id(plain) == bank.genome_id(plain)
    assert other.genome_id(moved) != bank.genome_id(moved)


def test_without_a_base_the_mean_of_the_seeds_is_the_base(
    tiny_family: TinyFamily, cache: Path
) -> None:
    bank = load_bank(models_of(tiny_family, base=False), SpectralSettings(rank=4), cache)
    seeds = [
        dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
        for folder in tiny_family.seeds.values()
    ]
    for name, tensor in bank.base.items():
        mean = sum(seed[name].float() for seed in seeds) / 3
        assert torch.equal(tensor, torch.as_tensor(mean).to(torch.bfloat16))
    for name, folder in tiny_family.seeds.items():
        wanted = dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
        for key, found in rounded(bank, bank.seed_genome(name)):
            assert torch.allclose(found.float(), wanted[key].float(), rtol=2**-7, atol=0), key


def test_a_bank_of_the_base_alone_can_still_mutate(tiny_family: TinyFamily, cache: Path) -> None:
    bank = load_bank(
        ModelSettings(base=str(tiny_family.base), seeds=()), SpectralSettings(rank=4), cache
    )
    base = bank.base_genome()
    child = breed(bank, [base, base], 0, BreedingSettings()).genome
    assert bank.genome_id(child) != bank.genome_id(base)
    assert expected_checksum(bank, child) != expected_checksum(bank, base)


def test_rank_zero_switches_displacements_off(tiny_family: TinyFamily, cache: Path) -> None:
    bank = load_bank(models_of(tiny_family), SpectralSettings(rank=0), cache)
    child = breed(bank, [bank.seed_genome("alpha")] * 2, 0, BreedingSettings()).genome
    assert not child.displacements


def test_float32_experts_reproduce_their_seed(tiny_family: TinyFamily, cache: Path) -> None:
    models = models_of(tiny_family).model_copy(update={"dtype": "float32"})
    bank = load_bank(models, SpectralSettings(rank=4), cache)
    seed = AutoModelForCausalLM.from_pretrained(tiny_family.seeds["beta"])
    wanted = dict(seed.named_parameters())
    for key, found in rounded(bank, bank.seed_genome("beta")):
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted[key].float(), rtol=2**-8, atol=0), key


def test_an_unknown_anchor_is_named(bank: Bank) -> None:
    with pytest.raises(BankError, match="no anchor 'omega' in the bank"):
        bank.seed_genome("omega")


def test_settings_refuse_a_name_that_is_taken() -> None:
    with pytest.raises(ValueError, match="'base' is used twice"):
        ModelSettings(seeds=(SeedSettings(name="base", path="x"),))
    with pytest.raises(ValueError, match="set a base, or at least one seed"):
        ModelSettings(base=None, seeds=())


def test_a_genome_is_held_against_its_id(bank: Bank) -> None:
    genome = bank.base_genome()
    other = bank.seed_genome(bank.seed_names[-1])
    bank.check_genome(bank.genome_id(genome), genome)
    with pytest.raises(GenomeError, match=r"table genomes, record .* not that of its id"):
        bank.check_genome(bank.genome_id(genome), other)
