"""Racing: the chance to survive of candidates that have answered in part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolution.selection import Candidate, survive
from evolution.selection.racing import survival_chances
from evolution.selection.settings import SelectionSettings
from memory.records import Skill, rate_of

FAMILIES = [f"f{number}" for number in range(20)]
CHANCES = dict.fromkeys(FAMILIES, 0.0)
RULE = SelectionSettings()


def candidate(name: str, rate: float, asked: int, birth: int, seed: int = 0) -> Candidate:
    rng = np.random.default_rng(seed)
    skills = {
        family: Skill(passes=int(rng.binomial(asked, rate)), asked=asked) for family in FAMILIES
    }
    return Candidate(name, skills, generation=0 if name.startswith("a") else 1, birth=birth)


def archive() -> list[Candidate]:
    return [candidate(f"a{n}", 0.5 + 0.05 * n, 4, n, seed=n) for n in range(4)]


def chances_of(
    candidates: list[Candidate], racing: set[str], asked: int = 4, seed: int = 0
) -> dict[str, float]:
    return survival_chances(
        candidates,
        racing,
        dict.fromkeys(FAMILIES, asked),
        4,
        RULE,
        CHANCES,
        np.random.default_rng(seed),
    )


def test_who_fails_everything_can_hardly_survive_and_who_passes_everything_will() -> None:
    field = [*archive(), candidate("lost", 0.0, 1, 0), candidate("strong", 1.0, 1, 1)]
    found = chances_of(field, {"lost", "strong"})
    assert found["lost"] < 0.02
    assert found["strong"] > 0.98


def test_who_is_like_the_others_stays_in_the_race() -> None:
    field = [*archive(), candidate("like", 0.6, 1, 0, seed=9)]
    assert 0.05 < chances_of(field, {"like"})["like"] < 0.99


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0, 1))
def test_where_nothing_is_left_to_answer_the_chance_is_the_verdict(seed: int, rate: float) -> None:
    field = [*archive(), *(candidate(f"c{n}", rate, 4, n, seed=seed + n) for n in range(3))]
    racing = {"c0", "c1", "c2"}
    kept = {each.id for each in survive(field, FAMILIES, 4, RULE, CHANCES).kept}
    assert chances_of(field, racing) == {name: float(name in kept) for name in racing}


def test_the_order_of_the_candidates_leaves_no_trace() -> None:
    field = [*archive(), candidate("b", 0.4, 1, 0, seed=3), candidate("c", 0.6, 1, 1, seed=4)]
    assert chances_of(field, {"b", "c"}) == chances_of(field[::-1], {"b", "c"})


def test_closed_families_are_known_already() -> None:
    closed = [
        Candidate(c.id, {f: rate_of(s) > 0.5 for f, s in c.skills.items()}, c.generation, c.birth)
        for c in [*archive(), candidate("c0", 0.6, 4, 0, seed=1)]
    ]
    found = survival_chances(
        closed, {"c0"}, dict.fromkeys(FAMILIES, 1), 4, RULE, {}, np.random.default_rng(0)
    )
    assert found["c0"] in (0.0, 1.0)


@pytest.mark.parametrize("rule", ["dns", "niches", "fitness"])
def test_every_rule_of_survival_can_be_raced_for(rule: str) -> None:
    field = [*archive(), candidate("lost", 0.0, 1, 0), candidate("strong", 1.0, 1, 1)]
    found = survival_chances(
        field,
        {"lost", "strong"},
        dict.fromkeys(FAMILIES, 4),
        4,
        SelectionSettings(survival=rule),
        CHANCES,
        np.random.default_rng(0),
    )
    assert found["lost"] < found["strong"]
