from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.breeding.bounds import bound
from evolution.breeding.breed import breed, parents_needed, random_genome
from evolution.breeding.crossover import (
    differential_evolution,
    linear,
    task_arithmetic,
    uniform_layers,
)
from evolution.breeding.mutation import coefficient_noise, spectral
from evolution.breeding.settings import BreedingSettings, GraftSettings
from evolution.errors import OperatorError
from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry
from evolution.registry import get_operator, mutation, operators

CROSSOVERS = sorted(operators("crossover"))
SHARED = settings(deadline=None, max_examples=30)


def seeds(bank: Bank) -> list[Genome]:
    return [bank.seed_genome(name) for name in bank.seed_names[1:]]


def only(name: str, **changes: Any) -> BreedingSettings:
    return BreedingSettings(crossovers={name: 1.0}, **changes)


def assert_inside(bank: Bank, genome: Genome, limits: BreedingSettings) -> None:
    geometry = bank.geometry
    longest = np.sqrt(np.diagonal(geometry.gram, axis1=1, axis2=2).max(axis=1))
    lengths = geometry.coefficient_norms(genome)
    assert (lengths <= limits.coefficient_bound * longest * (1 + 1e-5)).all()
    for name, delta in genome.displacements.items():
        length = float(np.linalg.norm(delta.astype(float)))
        assert length <= limits.displacement_bound * geometry.norms[name] * (1 + 1e-5)
        assert (delta >= -geometry.singular_values[name] * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", CROSSOVERS)
def test_equal_arguments_give_equal_bytes(bank: Bank, name: str) -> None:
    children = [breed(bank, seeds(bank), 7, only(name)) for _ in range(2)]
    assert children[0] == children[1]
    assert children[0].genome.to_bytes() == children[1].genome.to_bytes()
    assert breed(bank, seeds(bank), 8, only(name)).genome != children[0].genome
    assert children[0].operator == f"{name}+spectral"
    assert name in children[0].parameters


def test_twenty_generations_without_selection_stay_inside_the_bounds(bank: Bank) -> None:
    wild = BreedingSettings(
        crossovers=dict.fromkeys(CROSSOVERS, 1.0),
        crossover_parameters={"task_arithmetic": {"mean": 1.5}},
        mutations={"spectral": {"strength": 0.05}, "coefficient_noise": {"sigma": 0.3}},
    )
    rng = np.random.default_rng(0)
    population = [*seeds(bank), bank.base_genome()]
    for generation in range(20):
        chosen = [rng.choice(len(population), 3, replace=False) for _ in range(6)]
        population = [
            breed(bank, [population[i] for i in three], 100 * generation + n, wild).genome
            for n, three in enumerate(chosen)
        ]
        for genome in population:
            assert_inside(bank, genome, wild)
            assert np.abs(genome.coefficients).max() <= 16.001


def test_bounding_twice_is_bounding_once(bank: Bank) -> None:
    wild = Genome(
        np.full((len(bank.blocks), 4), 3.0),
        {name: np.full(16, -5.0) for name in bank.layout.matrices},
    )
    once = bound(wild, bank.geometry, 2.0, 0.04)
    assert once.blocks == len(bank.blocks)
    assert once.matrices == len(bank.layout.matrices)
    assert_inside(bank, once.genome, BreedingSettings())
    again = bound(once.genome, bank.geometry, 2.0, 0.04)
    assert (again.genome, again.blocks, again.matrices) == (once.genome, 0, 0)


def test_displacements_never_turn_a_singular_value_negative(bank: Bank) -> None:
    name = bank.layout.matrices[0]
    genome = Genome(bank.base_genome().coefficients, {name: np.full(16, -1e6)})
    bounded = bound(genome, bank.geometry, 2.0, 1e9).genome
    assert np.allclose(bounded.displacements[name], -bank.geometry.singular_values[name])


@SHARED
@given(
    seed=st.integers(0, 2**32), rows=st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3)
)
def test_linear_children_stay_in_the_affine_span(bank: Bank, seed: int, rows: list[float]) -> None:
    """Coefficients that sum to one in both parents sum to one in the child."""
    first = [*rows, 1.0 - sum(rows)]
    second = first[::-1]
    parents = [Genome(np.tile(row, (len(bank.blocks), 1))) for row in (first, second)]
    child, drawn = linear(parents, bank.geometry, np.random.default_rng(seed))
    assert np.allclose(child.coefficients.sum(axis=1), 1.0, atol=1e-4)
    shares = drawn["shares"]
    assert isinstance(shares, list)
    for share in shares:
        assert isinstance(share, float)
        assert -0.5 <= share <= 1.5


@SHARED
@given(seed=st.integers(0, 2**32), name=st.sampled_from(CROSSOVERS))
def test_children_stay_in_the_span_of_their_parents(bank: Bank, seed: int, name: str) -> None:
    """No crossover invents: what is zero in all parents is zero in the child."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3, len(bank.blocks), 4)) * np.array([1, 1, 0, 0])
    operator = get_operator("crossover", name)
    parents = [Genome(row) for row in rows][: operator.parents]
    child, _ = operator.function(parents, bank.geometry, rng, **operator.validated({}))
    assert not child.coefficients[:, 2:].any()
    assert not child.displacements


def test_linear_averages_displacements_with_the_same_shares(bank: Bank) -> None:
    mutant, _ = spectral(seeds(bank)[0], bank.geometry, np.random.default_rng(0))
    child, drawn = linear([mutant, seeds(bank)[1]], bank.geometry, np.random.default_rng(1))
    shares = drawn["shares"]
    assert isinstance(shares, list)
    for name, delta in mutant.displacements.items():
        assert np.allclose(child.displacements[name], float(str(shares[0])) * delta, rtol=1e-5)


def test_task_arithmetic_adds_task_vectors_and_averages_displacements(bank: Bank) -> None:
    mutant, _ = spectral(seeds(bank)[0], bank.geometry, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    child, _ = task_arithmetic([mutant, mutant], bank.geometry, rng, mean=1.0, sigma=0.0)
    assert np.allclose(child.coefficients, 2 * mutant.coefficients)
    for name, delta in mutant.displacements.items():
        assert np.allclose(child.displacements[name], delta)


def test_differential_evolution_adds_a_difference(bank: Bank) -> None:
    a, b, c, _ = seeds(bank)
    child, _ = differential_evolution([a, b, c], bank.geometry, np.random.default_rng(0))
    assert child.coefficients[0].tolist() == [1.0, 0.5, -0.5, 0.0]


def test_uniform_layers_takes_blocks_whole(bank: Bank) -> None:
    a, b, *_ = seeds(bank)
    child, _ = uniform_layers([a, b], bank.geometry, np.random.default_rng(5))
    rows = {tuple(row) for row in child.coefficients.tolist()}
    assert rows == {(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)}


def test_relative_strength_is_the_expected_relative_change(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(200):
        mutant, _ = spectral(bank.base_genome(), bank.geometry, rng, strength=0.03)
        changes += [
            np.linalg.norm(delta) / bank.geometry.norms[name]
            for name, delta in mutant.displacements.items()
        ]
    assert np.mean(changes) == pytest.approx(0.03, rel=0.02)


def test_absolute_strength_is_the_deviation_of_singular_values(bank: Bank) -> None:
    mutant, _ = spectral(
        bank.base_genome(),
        bank.geometry,
        np.random.default_rng(0),
        strength=0.25,
        strength_mode="absolute",
        rank=8,
    )
    deltas = np.stack(list(mutant.displacements.values()))
    assert deltas[:, :8].std() == pytest.approx(0.25, rel=0.15)
    assert not deltas[:, 8:].any()


def test_coefficient_noise_can_be_one_draw_for_the_whole_model(bank: Bank) -> None:
    parent, rng = seeds(bank)[0], np.random.default_rng(0)
    noisy, _ = coefficient_noise(parent, bank.geometry, rng, per_block=False)
    assert len({tuple(row) for row in noisy.coefficients.tolist()}) == 1
    noisy, _ = coefficient_noise(parent, bank.geometry, rng)
    assert len({tuple(row) for row in noisy.coefficients.tolist()}) == len(bank.blocks)


def test_mutation_rate_is_the_share_of_mutants(bank: Bank) -> None:
    some = BreedingSettings(mutation_rate=0.3)
    bred = [breed(bank, seeds(bank), seed, some).operator for seed in range(200)]
    assert 0.2 < sum("spectral" in operator for operator in bred) / 200 < 0.4


def test_mating_weights_decide_how_often_a_crossover_is_drawn(bank: Bank) -> None:
    mostly = BreedingSettings(crossovers={"linear": 3.0, "slerp": 1.0}, mutations={})
    bred = [breed(bank, seeds(bank), seed, mostly).operator for seed in range(200)]
    assert 0.65 < bred.count("linear") / 200 < 0.85


def test_crossovers_that_need_more_parents_wait_for_them(bank: Bank) -> None:
    both = BreedingSettings(crossovers={"linear": 1.0, "differential_evolution": 1.0})
    assert parents_needed(both) == 3
    assert parents_needed(BreedingSettings()) == 2
    pair = [breed(bank, seeds(bank)[:2], seed, both) for seed in range(20)]
    assert {child.parents for child in pair} == {2}
    three = [breed(bank, seeds(bank)[:3], seed, both) for seed in range(20)]
    assert {child.parents for child in three} == {2, 3}
    with pytest.raises(OperatorError, match="need 3 parents, got 2"):
        breed(bank, seeds(bank)[:2], 0, only("differential_evolution"))


def test_random_genomes_are_spread_like_bred_ones_and_repeatable(bank: Bank) -> None:
    limits = BreedingSettings()
    genomes = [random_genome(bank, seed, limits) for seed in range(20)]
    assert len({bank.genome_id(genome) for genome in genomes}) == 20
    assert random_genome(bank, 3, limits) == genomes[3]
    for genome in genomes:
        assert_inside(bank, genome, limits)
        assert genome.displacements


def test_a_random_genome_is_of_the_seeds_or_of_one_merge(new_bank: Callable[[], Bank]) -> None:
    bank, limits = new_bank(), BreedingSettings(coefficient_bound=100.0)
    alone = [random_genome(bank, seed, limits) for seed in range(5)]
    seeds = bank.geometry.seeds
    vectors = bank.anchors[0].vectors
    bank.append(*(Anchor(name, name * 32, vectors) for name in "abc"))
    merges = [[seeds], [seeds + 1, seeds + 2]]
    groups = [set(range(seeds)), *map(set, merges)]
    drawn = [random_genome(bank, seed, limits, merges) for seed in range(60)]
    of = [set(np.flatnonzero(genome.coefficients.any(axis=0)).tolist()) for genome in drawn]
    assert [sum(columns == group for columns in of) >= 8 for group in groups] == [True] * 3
    assert all(columns in groups for columns in of)
    for genome, columns in zip(drawn, of, strict=True):
        used = genome.coefficients[:, sorted(columns)]
        low, high = (0.0, 1.2) if columns == groups[0] else (0.6, 1.4)
        assert (used >= np.float32(low)).all()
        assert (used <= np.float32(high)).all()
    later = [random_genome(bank, seed, limits) for seed in range(5)]
    assert [bank.genome_id(g) for g in later] == [bank.genome_id(g) for g in alone]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crossovers": {"slrp": 1.0}}, "unknown crossover 'slrp' (did you mean slerp"),
        ({"mutations": {"spectrl": {}}}, "unknown mutation 'spectrl' (did you mean spectral"),
        (
            {"mutations": {"spectral": {"strenght": 0.1}}},
            "mutation 'spectral' has no parameter 'strenght' (did you mean strength",
        ),
        ({"mutations": {"spectral": {"strength": -1}}}, "strength = -1: Input should be greater"),
        ({"crossover_parameters": {"slerp": {"weight": 2}}}, "weight = 2: Input should be less"),
        ({"crossovers": {"linear": 0.0}}, "at least one weight must be above 0"),
        ({"crossovers": {"linear": -1.0}}, "must be finite and not negative"),
    ],
)
def test_wrong_operators_are_refused_with_the_nearest_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        BreedingSettings(**changes)
    assert message in str(caught.value)


def test_a_new_operator_needs_a_decorator_and_nothing_else(bank: Bank) -> None:
    @mutation("halve_for_test")
    def halve(
        genome: Genome, geometry: Geometry, rng: np.random.Generator, *, by: float = 0.5
    ) -> tuple[Genome, dict[str, Any]]:
        return dataclasses.replace(genome, coefficients=genome.coefficients * by), {"by": by}

    chosen = only("uniform_layers", mutations={"halve_for_test": {"by": 0.25}})
    child = breed(bank, seeds(bank), 0, chosen)
    assert child.operator == "uniform_layers+halve_for_test"
    assert child.genome.coefficients.max() == 0.25


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda genome: genome, r"must return \(Genome, what it drew as a dict\), got Genome"),
        (lambda genome: None, "got NoneType"),
        (lambda genome: (genome.coefficients, {}), "must return"),
        (
            lambda genome: (genome, {"by": np.float32(2.0)}),
            "must report what it drew in plain",
        ),
        (lambda genome: (genome, {"by": float("nan")}), "must report what it drew in plain"),
        (lambda genome: (Genome(genome.coefficients * np.nan), {}), "not finite, in coefficients"),
    ],
)
def test_an_operator_that_gives_something_else_is_named(
    bank: Bank, give: Callable[[Genome], Any], message: str
) -> None:
    @mutation("odd_for_test")
    def odd(genome: Genome, geometry: Geometry, rng: np.random.Generator) -> Any:
        return give(genome)

    with pytest.raises(OperatorError, match=message) as caught:
        breed(bank, seeds(bank), 0, only("linear", mutations={"odd_for_test": {}}))
    assert "mutation 'odd_for_test'" in str(caught.value)


def test_parents_are_not_changed_by_breeding(bank: Bank) -> None:
    parents: Sequence[Genome] = seeds(bank)
    before = [parent.to_bytes() for parent in parents]
    breed(bank, parents, 0, BreedingSettings())
    assert [parent.to_bytes() for parent in parents] == before


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({"regmean": {"scal": 1}}, "has no setting 'scal' (did you mean scale?)"),
        ({"regmean": {"members": 2}}, "has no setting 'members'"),
        ({"regmean": {"scale": 9}}, "regmean as a graft: scale"),
        ({"regmen": {}}, "no method 'regmen' of grafts"),
    ],
)
def test_what_no_single_merge_has_is_refused(methods: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        GraftSettings(methods=methods)
