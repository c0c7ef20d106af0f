"""Task forces that are not greedy, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks.forces import (
    best_generation_force,
    fittest_force,
    forces_by_generation,
    optimal_force,
    random_force,
)
from evolution.errors import ForceError
from evolution.selection.coverage import TaskForce, coverage, task_force
from tests.evolution.selection.test_coverage import Table, families, table, tables

Choose = Callable[[Table, list[str], int], TaskForce]
WAYS: dict[str, Choose] = {
    "greedy": task_force,
    "forced": lambda s, f, n: task_force(s, f, n, forced=list(s)[-1:]),
    "optimal": optimal_force,
    "fittest": fittest_force,
    "random": lambda s, f, n: random_force(s, f, n, seed=7),
    "generation": lambda s, f, n: best_generation_force({0: list(s)}, s, f, n),
}
NESTED = sorted(set(WAYS) - {"optimal"})


@pytest.mark.parametrize("way", sorted(WAYS))
@hypothesis_settings(deadline=None, max_examples=40)
@given(case=tables(), n=st.integers(1, 7))
def test_every_force_has_distinct_experts_and_true_shares(
    way: str, case: tuple[Table, list[str]], n: int
) -> None:
    skills, names = case
    force = WAYS[way](skills, names, n)
    assert len(force.experts) == len(set(force.experts)) == min(n, len(skills))
    for size, share in enumerate(force.coverage, start=1):
        assert share == coverage(skills, force.experts[:size], names)


@pytest.mark.parametrize("way", NESTED)
@hypothesis_settings(deadline=None, max_examples=40)
@given(case=tables())
def test_forces_are_prefixes_of_each_other(way: str, case: tuple[Table, list[str]]) -> None:
    skills, names = case
    full = WAYS[way](skills, names, len(skills)).experts
    for n in range(1, len(skills) + 1):
        assert WAYS[way](skills, names, n).experts == full[:n]


@hypothesis_settings(deadline=None)
@given(case=tables(), n=st.integers(1, 6))
def test_the_optimal_force_is_that_of_brute_force(case: tuple[Table, list[str]], n: int) -> None:
    skills, names = case
    best = max(
        coverage(skills, chosen, names) for chosen in combinations(skills, min(n, len(skills)))
    )
    assert optimal_force(skills, names, n).coverage[-1] == best
    assert task_force(skills, names, n).coverage[-1] <= best


@hypothesis_settings(deadline=None)
@given(case=tables())
def test_the_lazy_choice_is_the_plain_one(case: tuple[Table, list[str]]) -> None:
    skills, names = case
    fitness = {e: Fraction(sum(v.values()), max(len(v), 1)) for e, v in skills.items()}
    plain: list[str] = []
    covered: set[str] = set()
    while len(plain) < len(skills):
        left = [expert for expert in skills if expert not in plain]
        if not any(passed(skills[e]) - covered for e in left):
            covered = set()
        best = max(left, key=lambda e: (len(passed(skills[e]) - covered), fitness[e]))
        plain.append(best)
        covered |= passed(skills[best])
    assert task_force(skills, names, len(skills)).experts == tuple(plain)


def passed(vector: dict[str, bool]) -> set[str]:
    return {family for family, value in vector.items() if value}


def test_greedy_may_miss_what_the_optimal_force_finds() -> None:
    skills = table(wide="011110", left="111000", right="000111")
    assert task_force(skills, families(6), 2).coverage[-1] == pytest.approx(5 / 6)
    assert optimal_force(skills, families(6), 2).experts == ("left", "right")


def test_forced_seeds_come_first_and_the_rest_is_chosen_around_them() -> None:
    skills = table(seed="110000", twin="111000", other="000110")
    force = task_force(skills, families(6), 2, forced=["seed"])
    assert force.experts == ("seed", "other")
    assert task_force(skills, families(6), 1, forced=["seed", "twin"]).experts == ("seed",)
    with pytest.raises(KeyError):
        task_force(skills, families(6), 2, forced=["nobody"])


def test_too_many_subsets_are_refused_with_a_way_out() -> None:
    skills = table(**{f"e{i}": "1" for i in range(60)})
    with pytest.raises(ForceError, match="greedy"):
        optimal_force(skills, families(1), 12)


def test_random_forces_differ_by_seed_alone() -> None:
    skills = table(**{f"e{i}": "1" for i in range(20)})
    first = random_force(skills, families(1), 8, seed=1)
    assert first == random_force(skills, families(1), 8, seed=1)
    assert first.experts != random_force(skills, families(1), 8, seed=2).experts


def test_generations_are_compared_on_the_same_families() -> None:
    skills = table(a="1100", b="0010", c="1111")
    archives = {0: ["a", "b"], 1: ["b", "c"], 2: ["c", "unknown"]}
    by_generation = forces_by_generation(archives, skills, families(4), 1)
    assert {g: force.experts for g, force in by_generation.items()} == {
        0: ("a",),
        1: ("c",),
        2: ("c",),
    }
    assert best_generation_force(archives, skills, families(4), 1).experts == ("c",)
    with pytest.raises(ForceError):
        best_generation_force({}, skills, families(4), 1)
