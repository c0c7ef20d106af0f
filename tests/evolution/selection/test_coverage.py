"""Coverage and the greedy task force."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolution.selection.coverage import coverage, task_force
from memory.records import Skill

Table = dict[str, dict[str, bool]]


def table(**rows: str) -> Table:
    return {
        name: {f"f{i}": mark == "1" for i, mark in enumerate(row) if mark != "-"}
        for name, row in rows.items()
    }


def families(count: int) -> list[str]:
    return [f"f{i}" for i in range(count)]


def test_coverage_is_the_share_solved_by_at_least_one() -> None:
    skills = table(a="1100", b="0110", c="0000")
    assert coverage(skills, ["a"], families(4)) == 0.5
    assert coverage(skills, ["a", "b"], families(4)) == 0.75
    assert coverage(skills, ["c"], families(4)) == 0.0
    assert coverage(skills, [], families(4)) == 0.0
    assert coverage({}, [], []) == 0.0


def test_a_family_that_nobody_was_graded_on_stays_out() -> None:
    skills = table(a="1-0-", b="-10-")
    assert coverage(skills, ["a", "b"], families(4)) == pytest.approx(2 / 3)
    assert coverage(skills, ["a"], families(4)) == pytest.approx(1 / 3)


def test_greedy_takes_what_adds_most() -> None:
    skills = table(wide="111100", left="111000", right="000011")
    force = task_force(skills, families(6), 2)
    assert force.experts == ("wide", "right")
    assert force.coverage == pytest.approx((4 / 6, 1.0))


def test_ties_go_to_the_fitter_then_to_the_earlier() -> None:
    skills = table(a="1100", b="11-0", c="1100")
    assert task_force(skills, families(4), 3).experts == ("b", "a", "c")


def test_once_all_is_covered_it_is_covered_again() -> None:
    skills = table(wide="1110", last="0001", like_wide="1100", like_last="0001", none="0000")
    force = task_force(skills, families(4), 5)
    # By fitness alone, nobody could tell that the last family deserves a second expert.
    assert force.experts == ("wide", "last", "like_wide", "like_last", "none")
    assert force.coverage == pytest.approx((3 / 4, 1, 1, 1, 1))


def test_more_than_there_are_gives_all() -> None:
    skills = table(a="10", b="00")
    assert task_force(skills, families(2), 9).experts == ("a", "b")
    assert task_force({}, [], 3).experts == ()


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, list[str]]:
    width = draw(st.integers(1, 7))
    rows = draw(st.lists(st.text("01-", min_size=width, max_size=width), min_size=1, max_size=6))
    return table(**{f"e{i}": row for i, row in enumerate(rows)}), families(width)


@hypothesis_settings(deadline=None)
@given(tables())
def test_forces_are_prefixes_and_near_the_optimum(case: tuple[Table, list[str]]) -> None:
    skills, names = case
    full = task_force(skills, names, len(skills))
    for n in range(1, len(skills) + 1):
        force = task_force(skills, names, n)
        assert force.experts == full.experts[:n]
        reached = coverage(skills, force.experts, names)
        assert force.coverage[-1] == reached
        optimum = max(coverage(skills, chosen, names) for chosen in combinations(skills, n))
        assert reached >= (1 - 1 / math.e) * optimum
        if n == 1:
            assert reached == optimum


@hypothesis_settings(deadline=None)
@given(tables())
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


def test_forced_seeds_come_first_and_the_rest_is_chosen_around_them() -> None:
    skills = table(seed="110000", twin="111000", other="000110")
    force = task_force(skills, families(6), 2, forced=["seed"])
    assert force.experts == ("seed", "other")
    assert task_force(skills, families(6), 1, forced=["seed", "twin"]).experts == ("seed",)
    with pytest.raises(KeyError):
        task_force(skills, families(6), 2, forced=["nobody"])


def test_of_rates_coverage_is_the_chance_that_one_of_them_passes() -> None:
    skills: dict[str, dict[str, Skill | float]] = {
        "a": {"f0": Skill(passes=1, asked=2), "f1": True},
        "b": {"f0": 0.5, "f1": Skill(passes=1, asked=4)},
    }
    assert coverage(skills, ["a"], families(2)) == (0.5 + 1) / 2
    assert coverage(skills, ["a", "b"], families(2)) == (0.75 + 1) / 2
    assert task_force(skills, families(2), 2).experts == ("a", "b")


rates = st.dictionaries(st.sampled_from(families(5)), st.integers(0, 4).map(lambda n: n / 4))


@hypothesis_settings(deadline=None)
@given(st.lists(rates, min_size=1, max_size=6))
def test_the_lazy_choice_is_the_plain_one_on_rates(vectors: list[dict[str, float]]) -> None:
    skills = {f"e{i}": vector for i, vector in enumerate(vectors)}
    graded = {family for vector in vectors for family in vector}
    force = task_force(skills, families(5), len(skills))
    missed = dict.fromkeys(graded, 1.0)
    for place, (expert, covered) in enumerate(zip(force.experts, force.coverage, strict=True)):
        gains = {
            other: sum(rate * missed[family] for family, rate in skills[other].items())
            for other in force.experts[place:]
        }
        if not any(gains.values()):
            break
        assert gains[expert] == pytest.approx(max(gains.values()))
        for family, rate in skills[expert].items():
            missed[family] *= 1 - rate
        assert covered == pytest.approx(sum(1 - left for left in missed.values()) / len(graded))
