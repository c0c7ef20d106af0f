"""A search of coefficients: where its children lie, and what it makes of what it is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolution.bank.bank import Bank
from evolution.breeding.breed import breed
from evolution.breeding.search import BAND_STEP, COLLAPSED, Search, Vector, varied
from evolution.breeding.settings import BreedingSettings
from evolution.genome.genome import Genome

TARGET = 0.8


def search(blocks: int = 8, anchors: int = 3) -> Search:
    return Search(Genome(np.zeros((blocks, anchors), np.float32)), tuple(range(anchors)))


def gain(vector: Vector) -> float:
    """Most where every coordinate is `TARGET`."""
    return -float(((np.array(vector) - TARGET) ** 2).sum())


def followed(of: Search, batches: int, value: Callable[[Vector], float]) -> list[Vector]:
    """All that a search asks for, told whatever it has asked for."""
    told: list[tuple[Vector, float]] = []
    for batch in range(batches):
        asked = [of.ask(told, 100 * batch + place) for place in range(of.population)]
        told += [(vector, value(vector)) for vector in asked]
    return [vector for vector, _ in told]


def test_at_the_origin_lies_the_parent_with_all_that_it_has(bank: Bank) -> None:
    seeds = [bank.seed_genome(name) for name in bank.seed_names[1:3]]
    parent = breed(bank, seeds, 3, BreedingSettings()).genome
    assert parent.displacements
    of = Search(parent, varied(parent, bank.geometry.seeds))
    child = of.genome((0.0,) * of.dimensions, bank.geometry)
    assert bank.genome_id(child) == bank.genome_id(parent)


def test_a_step_is_of_all_blocks_or_of_one_band_and_the_last_number_scales_all(bank: Bank) -> None:
    parent = bank.seed_genome(bank.seed_names[1])
    of = Search(parent, varied(parent, bank.geometry.seeds))
    unit = np.eye(of.dimensions)
    before = parent.coefficients
    shared = of.genome(tuple(unit[1]), bank.geometry).coefficients - before
    assert (shared[:, 1] == 1.0).all()
    assert not np.delete(shared, 1, axis=1).any()
    band = of.genome(tuple(unit[len(of.columns)]), bank.geometry).coefficients - before
    assert (band[of.bands[0], 0] == BAND_STEP).all()
    assert np.count_nonzero(band) == len(before[of.bands[0]])
    scaled = of.genome(tuple(np.log(2.0) * unit[-1]), bank.geometry).coefficients
    np.testing.assert_allclose(scaled, 2.0 * before, rtol=1e-6)


@given(st.integers(1, 90), st.integers(1, 5))
def test_every_block_is_in_one_band(blocks: int, anchors: int) -> None:
    of = search(blocks, anchors)
    rows = [row for band in of.bands for row in range(blocks)[band]]
    assert rows == list(range(blocks))
    sizes = [len(range(blocks)[band]) for band in of.bands]
    assert max(sizes) - min(sizes) <= 1


def test_what_is_asked_depends_on_what_was_told_and_on_the_seed_alone() -> None:
    of = search()
    asked = followed(of, 2, gain)
    told = [(vector, gain(vector)) for vector in asked]
    assert of.ask(told, 7) == of.ask(list(told), 7)
    assert of.ask(told, 7) != of.ask(told, 8)
    assert of.ask(told, 7) != of.ask([], 7)


def test_an_open_batch_is_told_only_when_it_is_whole() -> None:
    of = search()
    told = [(vector, gain(vector)) for vector in followed(of, 1, gain)]
    assert of.ask(told[:-1], 7) == of.ask([], 7)
    assert of.ask(told, 7) != of.ask([], 7)


def test_a_search_that_is_told_goes_where_most_is_gained() -> None:
    of = search()
    asked = followed(of, 40, gain)
    first, last = asked[: of.population], asked[-of.population :]
    far = float(np.mean([gain(vector) for vector in first]))
    near = float(np.mean([gain(vector) for vector in last]))
    assert near > 0.05 * far
    untold = [of.ask([], 3900 + place) for place in range(of.population)]
    assert float(np.mean([gain(vector) for vector in untold])) < near


def test_it_has_collapsed_when_the_last_batch_is_all_alike() -> None:
    of = search()
    assert not of.collapsed([])
    rng = np.random.default_rng(0)
    shape = (of.population, of.dimensions)
    wide, narrow = rng.normal(0, 0.3, shape), rng.normal(0, COLLAPSED / 2, shape)
    batches = [[(tuple(vector), 0.0) for vector in batch.tolist()] for batch in (wide, narrow)]
    assert not of.collapsed(batches[0])
    assert not of.collapsed([*batches[0], *batches[1][:-1]]), "the narrow batch is not whole"
    assert of.collapsed([*batches[0], *batches[1]])


@pytest.mark.parametrize(("used", "columns"), [((0,), (0, 1)), ((3,), (0, 1, 3)), ((), (0, 1))])
def test_seeds_and_what_the_parent_is_made_of_vary(
    used: tuple[int, ...], columns: tuple[int, ...]
) -> None:
    coefficients = np.zeros((4, 5), np.float32)
    coefficients[2, list(used)] = 1.0
    assert varied(Genome(coefficients), seeds=2) == columns
