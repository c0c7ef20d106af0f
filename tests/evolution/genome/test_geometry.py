from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from evolution.bank.bank import Bank, load_bank
from evolution.bank.mergeability import mergeability
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.breeding.crossover import slerp, split_slerp
from evolution.breeding.mutation import spectral
from evolution.genome.genome import Genome
from evolution.materialise.weights import weigh
from tests.evolution.conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


def mixed(bank: Bank, seed: int) -> Genome:
    rng = np.random.default_rng(seed)
    coefficients = rng.uniform(-0.5, 1.2, (len(bank.blocks), len(bank.anchors)))
    return spectral(Genome(coefficients), bank.geometry, rng, strength=0.1)[0]


def task_vectors(bank: Bank, genome: Genome) -> list[Tensor]:
    """The actual task vector of each block, all its tensors in a row, in float64."""
    parts: list[list[Tensor]] = [[] for _ in bank.blocks]
    for name, weights in weigh(bank, genome):
        delta = weights.double() - bank.base[name].double()
        parts[bank.layout.tensor_blocks[name]].append(delta.view(-1))
    return [torch.cat(block) for block in parts]


def slerp_of(a: Tensor, b: Tensor, weight: float) -> Tensor:
    cosine = torch.clamp(a @ b / (a.norm() * b.norm()), -1, 1)
    if cosine.abs() > 0.9995:
        return (1 - weight) * a + weight * b
    angle = torch.arccos(cosine)
    return (torch.sin((1 - weight) * angle) * a + torch.sin(weight * angle) * b) / torch.sin(angle)


@pytest.mark.parametrize("which", ["bank", "qwen_bank"])
def test_inner_products_are_those_of_the_tensors(
    which: str, request: pytest.FixtureRequest
) -> None:
    bank: Bank = request.getfixturevalue(which)
    a, b = mixed(bank, 1), mixed(bank, 2)
    for first, second in ((a, a), (a, b)):
        found = bank.geometry.inner(first, second)
        pairs = zip(task_vectors(bank, first), task_vectors(bank, second), strict=True)
        wanted = np.array([float(x @ y) for x, y in pairs])
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("which", ["bank", "qwen_bank"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_slerp_of_coefficients_is_slerp_of_tensors(
    which: str, weight: float, request: pytest.FixtureRequest
) -> None:
    bank: Bank = request.getfixturevalue(which)
    a, b = mixed(bank, 3), mixed(bank, 4)
    child, _ = slerp([a, b], bank.geometry, np.random.default_rng(0), weight=weight)
    pairs = zip(task_vectors(bank, a), task_vectors(bank, b), strict=True)
    for found, (x, y) in zip(task_vectors(bank, child), pairs, strict=True):
        wanted = slerp_of(x, y, weight)
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def test_split_slerp_changes_sides_at_a_block(bank: Bank) -> None:
    a, b = mixed(bank, 3), mixed(bank, 4)
    rng = np.random.default_rng(0)
    child, drawn = split_slerp([a, b], bank.geometry, rng, weight=0.2)
    split = drawn["split"]
    assert isinstance(split, int)
    assert 0 < split < len(bank.blocks)
    pairs = zip(task_vectors(bank, a), task_vectors(bank, b), strict=True)
    for block, (found, (x, y)) in enumerate(zip(task_vectors(bank, child), pairs, strict=True)):
        wanted = slerp_of(x, y, 0.2 if block < split else 0.8)
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def test_slerp_is_linear_where_a_task_vector_has_no_length(bank: Bank) -> None:
    a, base = bank.seed_genome("alpha"), bank.base_genome()
    child, _ = slerp([a, base], bank.geometry, np.random.default_rng(0), weight=0.25)
    assert np.allclose(child.coefficients, 0.75 * a.coefficients)
    twin, _ = slerp([a, a], bank.geometry, np.random.default_rng(0), weight=0.25)
    assert np.allclose(twin.coefficients, a.coefficients)


def test_an_adapter_leaves_other_blocks_without_length(bank: Bank) -> None:
    lengths = bank.geometry.coefficient_norms(bank.seed_genome("delta"))
    assert lengths[0] == lengths[-1] == 0.0
    assert (lengths[1:-1] > 0).all()


def test_mergeability_compares_the_seeds_distances(bank: Bank) -> None:
    names = bank.seed_names[1:]
    report = mergeability(bank)
    assert report is not None
    weights = {name: dict(weigh(bank, bank.seed_genome(name))) for name in names}
    for (a, b), distance in report.distances.items():
        squares = [
            float((weights[a][key].double() - weights[b][key].double()).square().sum())
            for key in weights[a]
        ]
        assert np.isclose(distance, np.sqrt(sum(squares)), rtol=1e-3)
    assert len(report.distances) == 6
    assert report.ratio == min(report.distances.values()) / max(report.distances.values())
    assert f"{report.ratio:.2f}" in report.advice
    square = {
        name: sum(float(w.double().square().sum()) for w in changes(bank, name)) for name in names
    }
    for (a, b), cosine in report.cosines.items():
        products = zip(changes(bank, a), changes(bank, b), strict=True)
        inner = sum(float((x.double() * y.double()).sum()) for x, y in products)
        assert np.isclose(cosine, inner / np.sqrt(square[a] * square[b]), atol=1e-3)


def changes(bank: Bank, name: str) -> list[Tensor]:
    weights = dict(weigh(bank, bank.seed_genome(name)))
    return [weights[key].float() - base.float() for key, base in bank.base.items()]


def test_signs_agree_by_chance_where_seeds_are_random_and_fully_with_a_twin(
    tiny_family: TinyFamily, cache: Path
) -> None:
    models = models_of(tiny_family)
    twin = SeedSettings(name="twin", path=str(tiny_family.seeds["alpha"]))
    seeds = ModelSettings(base=models.base, seeds=(*models.seeds, twin))
    report = mergeability(load_bank(seeds, SpectralSettings(rank=0), cache))
    assert report is not None
    assert report.ratio == 0.0
    assert "alpha and twin are the same checkpoint" in report.advice
    assert report.sign_agreement["alpha", "twin"] == 1.0
    assert report.cosines["alpha", "twin"] == pytest.approx(1.0)
    assert report.sign_agreement["alpha", "beta"] == pytest.approx(0.5, abs=0.05)
