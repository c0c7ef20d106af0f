"""Curation: what pass rates mean for families, parents and assignments."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from agents.pool.curation import over_capacity, plan_adaptation
from agents.pool.rates import discrimination, pass_rates
from agents.settings import PoolSettings
from memory.records import Skill
from tests.agents.cases import family


def test_pass_rate_is_over_graded_experts_only() -> None:
    archive = {"a": {"f1": True, "f2": False}, "b": {"f1": False}, "c": {}}
    assert pass_rates(["f1", "f2", "f3"], archive) == {"f1": 0.5, "f2": 0.0}


def test_pass_rate_is_of_instances_where_they_are_counted() -> None:
    archive = {"a": {"f1": Skill(passes=1, asked=4)}, "b": {"f1": Skill(passes=2, asked=4)}}
    assert pass_rates(["f1"], archive) == {"f1": 0.375}


@pytest.mark.parametrize(("rate", "bits"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)])
def test_discrimination_is_the_entropy_of_the_pass_rate(rate: float, bits: float) -> None:
    assert discrimination(rate) == bits


def test_over_capacity_the_least_discriminating_leave_first_and_the_older_on_ties() -> None:
    rates = {"f0": 1.0, "f1": 0.5, "f2": 0.0, "f3": 0.25}
    assert over_capacity(["f0", "f1", "f2", "f3"], rates, 2) == ["f0", "f2"]


def test_a_family_that_nobody_was_graded_on_stays() -> None:
    assert over_capacity(["f0", "f1"], {"f1": 0.5}, 1) == ["f1"]


def test_impossible_families_are_retired_down_to_half_of_the_capacity() -> None:
    families = [family(n) for n in range(8)]
    rates = {f.id: 0.0 for f in families}
    settings = PoolSettings(capacity=8, adaptations=4, rescue=0.0)
    plan = plan_adaptation(families, rates, settings, np.random.default_rng(0))
    assert plan.retired == ["f0", "f1", "f2", "f3"]
    assert len(plan.requests) == 4


def test_an_impossible_child_makes_way_for_its_held_parent_however_small_the_pool() -> None:
    families = [family(n) for n in range(4)]
    rates = {f.id: 0.0 for f in families}
    settings = PoolSettings(capacity=8, adaptations=4, rescue=0.0)
    plan = plan_adaptation(families, rates, settings, np.random.default_rng(0), {"f1", "f3"})
    assert plan.retired == ["f1", "f3"]
    settings = PoolSettings(capacity=6, adaptations=4, rescue=0.0)
    plan = plan_adaptation(families, rates, settings, np.random.default_rng(0), {"f1"})
    assert plan.retired == ["f0", "f1"], "one leaves for good, one makes way"


def test_rescue_share_of_impossible_families_gets_an_easier_assignment() -> None:
    families = [family(n) for n in range(4000)]
    rates = {f.id: 0.0 for f in families}
    settings = PoolSettings(capacity=2, adaptations=10_000, rescue=0.25)
    plan = plan_adaptation(families, rates, settings, np.random.default_rng(1))
    easier = [parent for kind, parent in plan.requests if kind == "easier"]
    assert len(easier) / len(plan.retired) == pytest.approx(0.25, abs=0.03)
    assert set(easier) <= set(plan.retired)


def test_easy_families_are_held_back_behind_one_harder_child() -> None:
    families = [family(n) for n in range(3)]
    settings = PoolSettings(capacity=4, adaptations=9)
    plan = plan_adaptation(
        families, {f.id: 0.9 for f in families}, settings, np.random.default_rng(0)
    )
    assert sorted(plan.held) == ["f0", "f1", "f2"]
    assert Counter(kind for kind, _ in plan.requests) == {"harder": 3}


def test_medium_families_ask_for_novel_and_related_at_their_shares() -> None:
    families = [family(n) for n in range(5000)]
    settings = PoolSettings(capacity=5000, adaptations=5000, novel_share=0.8)
    plan = plan_adaptation(
        families, {f.id: 0.5 for f in families}, settings, np.random.default_rng(2)
    )
    kinds = Counter(kind for kind, _ in plan.requests)
    assert kinds["novel"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert kinds["novel"] + kinds["related"] == 5000


def test_the_same_stream_gives_the_same_plan() -> None:
    families = [family(n) for n in range(30)]
    rates = {f.id: index / 29 for index, f in enumerate(families)}
    settings = PoolSettings(capacity=20, adaptations=12)
    first, second = (
        plan_adaptation(families, rates, settings, np.random.default_rng(7)) for _ in range(2)
    )
    assert first == second
