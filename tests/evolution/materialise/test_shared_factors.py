"""Several anchors along one root: what they add is one sum of right factors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.task_vectors import Dense, LowRank
from evolution.genome.genome import Genome
from evolution.materialise.weights import (
    checksum,
    expected_checksum,
    materialise,
    rounded,
    sums_of,
    weigh,
)
from tests.evolution.merging.regmean_cases import anybody, bank_with_adapters

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

LOW = ("delta", "epsilon", "gated", "gated.again", "spectral")


@pytest.fixture(scope="module")
def shared(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Bank:
    """Two anchors along the left factors of an adapter, one along the singular vectors."""
    bank = bank_with_adapters(tiny_family, tmp_path_factory.mktemp("shared"), cache)
    numbers = torch.Generator().manual_seed(0)
    [delta] = [anchor for anchor in bank.anchors if anchor.name == "delta"]

    def along(left: dict[str, Tensor], name: str, number: int, root: str) -> Anchor:
        vectors = {}
        for tensor, up in left.items():
            down = torch.randn(up.shape[1], bank.base[tensor].shape[1], generator=numbers)
            vectors[tensor] = LowRank(up, 0.1 * down, 1.0 + number)
        return Anchor(name, f"{number:032x}", vectors, root)

    ups = {name: vector.up for name, vector in delta.vectors.items() if isinstance(vector, LowRank)}
    lefts = {name: basis.left for name, basis in bank.bases.items()}
    bank.append(
        along(ups, "gated", 1, delta.content_hash),
        along(ups, "gated.again", 2, delta.content_hash),
        along(lefts, "spectral", 3, bank.spectral_root),
    )
    return bank


def by_definition(bank: Bank, genome: Genome, name: str) -> Tensor:
    """One tensor of an expert without noise, in float64."""
    fitted = bank.geometry.fit(genome)
    total = bank.base[name].double()
    for index, anchor in enumerate(bank.anchors):
        weight = float(fitted.coefficients[bank.layout.tensor_blocks[name], index])
        vector = anchor.vectors.get(name)
        if isinstance(vector, LowRank):
            total = total + weight * vector.scale * vector.up.double() @ vector.down.double()
        elif isinstance(vector, Dense):
            rows = torch.cat([part for _, part in vector.chunks()])
            total = total + weight * rows.view(total.shape)
    delta = fitted.displacements.get(name)
    if delta is not None:
        basis = bank.bases[name]
        scaled = basis.left.double() * torch.from_numpy(delta.astype(np.float64))
        total = total + scaled @ basis.right.double().T
    return total


@pytest.mark.parametrize("rank", [False, True])
@pytest.mark.parametrize("names", [LOW, ("gated",), ("gated", "gated.again"), ("alpha", *LOW)])
def test_the_weights_are_the_sum_of_all(shared: Bank, names: tuple[str, ...], rank: bool) -> None:
    genome = anybody(shared, 3, names, rank=rank, noise=False)
    for name, tensor in weigh(shared, genome):
        wanted = by_definition(shared, genome, name)
        torch.testing.assert_close(tensor.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("noise", [False, True])
def test_a_model_an_engine_and_a_file_are_given_the_same(shared: Bank, noise: bool) -> None:
    genome = anybody(shared, 4, ("beta", *LOW), rank=True, noise=noise)
    model = shared.model()
    materialise(shared, genome, model)
    assert checksum(model) == expected_checksum(shared, genome)
    held = model.state_dict()
    for name, tensor in rounded(shared, genome):
        assert torch.equal(held[name], tensor), name
    some = ["model.layers.1.self_attn.q_proj.weight", "model.norm.weight"]
    found = dict(rounded(shared, genome, names=some))
    assert list(found) == sorted(some, key=list(shared.layout.shapes).index)
    for name in some:
        assert torch.equal(found[name], held[name])


def test_the_product_has_the_rank_of_the_roots(shared: Bank) -> None:
    """Merges of merges take no longer to make than their seeds together."""
    genome = anybody(shared, 5, LOW, rank=True, noise=False)
    ranks = {
        name: total.factors[0].shape[1] for name, total in sums_of(shared, genome) if total.factors
    }
    q_proj = "model.layers.0.self_attn.q_proj.weight"
    assert ranks[q_proj] == 4 + 4 + 4, "delta, epsilon, singular vectors"
    assert ranks["model.layers.0.self_attn.k_proj.weight"] == 4, "singular vectors alone"
    one = anybody(shared, 5, ("gated", "gated.again", "delta"), rank=False, noise=False)
    ranks = {
        name: total.factors[0].shape[1] for name, total in sums_of(shared, one) if total.factors
    }
    assert ranks[q_proj] == 4


def test_coefficients_that_overflow_are_no_error(shared: Bank) -> None:
    broken = Genome(np.full((len(shared.blocks), len(shared.anchors)), 3e38, np.float32))
    q_proj = dict(rounded(shared, broken))["model.layers.0.self_attn.q_proj.weight"]
    assert not bool(q_proj.isfinite().all())


def test_its_geometry_is_that_of_its_weights(shared: Bank) -> None:
    genome = anybody(shared, 6, LOW, rank=True, noise=False)
    squares = np.zeros(len(shared.blocks))
    for name, tensor in weigh(shared, genome):
        block = shared.layout.tensor_blocks[name]
        squares[block] += float((tensor.double() - shared.base[name].double()).square().sum())
    found = shared.geometry.inner(genome, genome)
    np.testing.assert_allclose(found, squares, rtol=1e-4, atol=1e-6)
