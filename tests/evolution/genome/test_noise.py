"""Gaussian noise of which only the seed is kept: drawn again alike, inherited, blended, bounded."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evolution.bank.bank import Bank
from evolution.breeding.bounds import bound
from evolution.breeding.breed import breed
from evolution.breeding.crossover import linear
from evolution.breeding.mutation import coefficient_noise, gaussian, spectral
from evolution.breeding.settings import BreedingSettings
from evolution.errors import GenomeError
from evolution.genome.genome import Genome, NoiseField, NoiseTerm
from evolution.genome.noise import Noise
from evolution.materialise.weights import checksum, expected_checksum, materialise, weigh
from tests.evolution.conftest import write_adapter

AGAIN = """
import hashlib, torch
from evolution.genome.genome import NoiseTerm
from evolution.genome.noise import Noise
drawn = torch.zeros(1_100_000)
Noise("a", (NoiseTerm(7, 1.0),)).add_to(drawn)
print(hashlib.sha256(drawn.numpy().tobytes()).hexdigest())
"""


def noisy(bank: Bank, seed: int = 0, strength: float = 0.03) -> Genome:
    rng = np.random.default_rng(seed)
    return gaussian(bank.seed_genome("alpha"), bank.geometry, rng, strength=strength)[0]


def test_only_seed_and_strength_are_kept(bank: Bank) -> None:
    plain, mutant = bank.seed_genome("alpha"), noisy(bank)
    assert len(mutant.to_bytes()) < len(plain.to_bytes()) + 100
    assert Genome.from_bytes(mutant.to_bytes()) == mutant
    with pytest.raises(GenomeError, match="expected"):
        Genome.from_bytes(mutant.to_bytes()[:-4])
    with pytest.raises(GenomeError, match=r"shape \(4,\), one per block, got \(3,\)"):
        Genome(plain.coefficients, noise={NoiseField(1, "relative"): np.ones(3)})


def deviates(name: str, seed: int) -> torch.Tensor:
    drawn = torch.zeros(1_100_000)
    Noise(name, (NoiseTerm(seed, 1.0),)).add_to(drawn)
    return drawn


def test_noise_is_drawn_again_alike_in_another_process() -> None:
    import hashlib

    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    drawn = deviates("a", 7)
    assert hashlib.sha256(drawn.numpy().tobytes()).hexdigest() == done.stdout.strip()
    assert abs(float(drawn.mean())) < 5e-3
    assert float(drawn.std()) == pytest.approx(1.0, abs=5e-3)
    assert not torch.equal(drawn, deviates("b", 7))
    assert not torch.equal(drawn, deviates("a", 8))


@given(st.lists(st.integers(1, 199_999), max_size=4, unique=True))
@settings(deadline=None, max_examples=20)
def test_noise_does_not_depend_on_how_a_tensor_is_cut(cuts: list[int]) -> None:
    noise = Noise("a", (NoiseTerm(7, 0.5), NoiseTerm(8, 1.0)))
    whole, pieces = torch.zeros(200_000), torch.zeros(200_000)
    noise.add_to(whole)
    bounds = [0, *sorted(cuts), 200_000]
    for start, end in itertools.pairwise(bounds):
        noise.add_to(pieces[start:end], start)
    assert torch.equal(whole, pieces)


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_strength_is_the_size_of_what_is_added(bank: Bank, mode: str) -> None:
    before = {name: tensor.float().clone() for name, tensor in weigh(bank, bank.base_genome())}
    rng = np.random.default_rng(0)
    mutant, drawn = gaussian(
        bank.base_genome(),
        bank.geometry,
        rng,
        strength=0.03,
        strength_mode=mode,  # type: ignore[arg-type]
    )
    assert drawn["strength_mode"] == mode
    for name, weights in weigh(bank, mutant):
        change = weights.float() - before[name]
        if name not in bank.layout.matrices:
            assert not change.any(), name
        elif mode == "relative":
            assert float(change.norm() / before[name].norm()) == pytest.approx(0.03, rel=0.1)
        else:
            assert float(change.std()) == pytest.approx(0.03, rel=0.1)
    # The bank itself is as it was.
    for name, weights in weigh(bank, bank.base_genome()):
        assert torch.equal(weights.float(), before[name])


def test_a_model_is_given_the_noise_and_loses_it_again(bank: Bank) -> None:
    model = bank.model()
    fresh = checksum(model)
    materialise(bank, noisy(bank), model)
    assert checksum(model) == expected_checksum(bank, noisy(bank))
    assert checksum(model) != expected_checksum(bank, bank.seed_genome("alpha"))
    materialise(bank, bank.base_genome(), model)
    assert checksum(model) == fresh


def test_noise_is_part_of_the_id_and_changes_no_id_without_it(
    new_bank: Callable[[], Bank], tmp_path: Path
) -> None:
    bank = new_bank()
    plain, mutant = bank.seed_genome("alpha"), noisy(bank)
    ids = {bank.genome_id(each) for each in (plain, mutant, noisy(bank, 1), noisy(bank, 0, 0.02))}
    assert len(ids) == 4
    before = bank.genome_id(mutant), expected_checksum(bank, mutant)
    bank.graft("epsilon", str(write_adapter(tmp_path / "epsilon", seed=5)))
    assert (bank.genome_id(mutant), expected_checksum(bank, mutant)) == before


def test_children_inherit_noise_in_the_parents_shares(bank: Bank) -> None:
    first, second = noisy(bank, 0), noisy(bank, 1)
    child, drawn = linear([first, second], bank.geometry, np.random.default_rng(3))
    shares = drawn["shares"]
    assert isinstance(shares, list)
    assert set(child.noise) == {*first.noise, *second.noise}
    for share, parent in zip(shares, (first, second), strict=True):
        for field, strengths in parent.noise.items():
            assert np.allclose(child.noise[field], float(str(share)) * strengths, rtol=1e-5)
    weighed = [dict(weigh(bank, each)) for each in (first, second, child)]
    for name in bank.layout.matrices:
        wanted = sum(float(str(s)) * w[name] for s, w in zip(shares, weighed[:2], strict=True))
        assert torch.allclose(weighed[2][name], torch.as_tensor(wanted), atol=1e-4), name


def test_other_mutations_leave_noise_as_it_is(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    mutant = noisy(bank)
    assert spectral(mutant, bank.geometry, rng)[0].noise.keys() == mutant.noise.keys()
    assert coefficient_noise(mutant, bank.geometry, rng)[0].noise.keys() == mutant.noise.keys()
    twice, _ = gaussian(mutant, bank.geometry, rng)
    assert len(twice.noise) == 2


def test_lengths_with_noise_are_those_of_the_weights(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    first = gaussian(noisy(bank, 0, 0.2), bank.geometry, rng, strength=0.1)[0]
    second = linear([first, noisy(bank, 5)], bank.geometry, rng)[0]
    base = {name: tensor.double() for name, tensor in bank.base.items()}
    taus = [
        {name: weights.double() - base[name] for name, weights in weigh(bank, genome)}
        for genome in (first, second)
    ]
    wanted = np.zeros(len(bank.blocks))
    for name, block in bank.layout.tensor_blocks.items():
        wanted[block] += float((taus[0][name] * taus[1][name]).sum())
    assert np.allclose(bank.geometry.inner(first, second), wanted, rtol=0.05)


def test_noise_is_bounded_in_length_and_in_number(bank: Bank) -> None:
    rng, genome = np.random.default_rng(0), bank.base_genome()
    for _ in range(5):
        genome, _ = gaussian(genome, bank.geometry, rng, strength=0.2)
    bounded = bound(genome, bank.geometry, 2.0, 0.04, noise_bound=0.05, noise_fields=3)
    assert (len(bounded.genome.noise), bounded.dropped) == (3, 2)
    base = dict(weigh(bank, bank.base_genome()))
    for block in range(len(bank.blocks)):
        names = [n for n in bank.layout.matrices if bank.layout.tensor_blocks[n] == block]
        if names:
            weighed = dict(weigh(bank, bounded.genome))
            change = sum(float((weighed[n] - base[n].float()).square().sum()) for n in names)
            whole = sum(float(base[n].float().square().sum()) for n in names)
            assert (change / whole) ** 0.5 == pytest.approx(0.05, rel=0.05)
    again = bound(bounded.genome, bank.geometry, 2.0, 0.04, noise_bound=0.05, noise_fields=3)
    assert (again.genome, again.noisy, again.dropped) == (bounded.genome, 0, 0)


def test_generations_of_noise_keep_the_number_of_seeds_in_bounds(bank: Bank) -> None:
    limits = BreedingSettings(mutations={"gaussian": {"strength": 0.01}}, noise_fields=4)
    population = [bank.seed_genome(name) for name in ("alpha", "beta")]
    for seed in range(12):
        child = breed(bank, population[-2:], seed, limits)
        assert child.operator.endswith("+gaussian")
        population.append(child.genome)
    assert len(population[-1].noise) == 4
