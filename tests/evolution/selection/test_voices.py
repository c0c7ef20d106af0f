"""Task forces of voices."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolution.selection.coverage import task_force
from evolution.selection.voices import Standing, evenly
from memory.records import Outcome, Voice

SEEDS = ("s0", "s1", "s2")
EXPERTS = (*SEEDS, "e0", "e1")
PLACES = [("f0", "1"), ("f0", "2"), ("f0", "3"), ("f1", "1"), ("f2", "1")]
WARM = 0.7


def outcome(expert: str, place: str, passes: int, asked: int = 1, warm: bool = False) -> Outcome:
    family, instance = place.split()
    return Outcome(
        expert=expert,
        temperature=WARM if warm else 0.0,
        family=family,
        instance=instance,
        passes=passes,
        asked=asked,
    )


@st.composite
def finals(draw: st.DrawFn) -> Standing:
    """Every expert answers everything greedily and twice at a temperature."""
    found = []
    for expert in EXPERTS:
        for family, instance in PLACES:
            place = f"{family} {instance}"
            found.append(outcome(expert, place, draw(st.integers(0, 1))))
            found.append(outcome(expert, place, draw(st.integers(0, 2)), 2, warm=True))
    return Standing.heard(found)


def by_hand(standing: Standing, voices: tuple[Voice, ...]) -> float:
    """Mean over families of the mean over instances of 1 - prod(1 - p)."""
    families: dict[str, list[float]] = {}
    for place in PLACES:
        missed = math.prod(1 - standing.marks[voice].get(place, 0.0) for voice in voices)
        families.setdefault(place[0], []).append(1 - missed)
    return sum(sum(each) / len(each) for each in families.values()) / len(families)


@hypothesis_settings(deadline=None)
@given(finals(), st.integers(1, 9))
def test_no_force_is_behind_the_seeds_resampled(standing: Standing, n: int) -> None:
    force, baseline = standing.force(n, SEEDS), standing.resampled(n, SEEDS)
    assert baseline is not None
    assert len(force.voices) == len(baseline.voices) == n
    assert force.coverage >= baseline.coverage
    assert force.coverage == pytest.approx(by_hand(standing, force.voices))
    assert baseline.coverage == pytest.approx(by_hand(standing, baseline.voices))
    assert baseline.voices == evenly(standing.order(SEEDS), n, WARM)
    if n <= len(EXPERTS):
        assert force.coverage >= standing.alone(n).coverage, "nor behind N experts"


@hypothesis_settings(deadline=None)
@given(finals(), st.integers(1, 9))
def test_only_sampled_voices_stand_twice(standing: Standing, n: int) -> None:
    count = Counter(standing.force(n, SEEDS).voices)
    assert all(voice.temperature or times == 1 for voice, times in count.items())
    assert len(set(standing.alone(n).voices)) == min(n, len(EXPERTS))
    assert all(voice.greedy for voice in standing.alone(n).voices)


@hypothesis_settings(deadline=None, max_examples=30)
@given(finals())
def test_a_force_is_near_the_best_there_is(standing: Standing) -> None:
    for n in (1, 2, 3):
        best = max(
            by_hand(standing, chosen)
            for chosen in combinations_with_replacement(standing.marks, n)
            if all(v.temperature or chosen.count(v) == 1 for v in chosen)
        )
        assert standing.force(n, SEEDS).coverage >= (1 - 1 / math.e) * best - 1e-9
        if n == 1:
            assert standing.force(n, SEEDS).coverage == pytest.approx(best)


def test_families_count_equally_whatever_they_ask() -> None:
    many = [outcome("a", f"f0 {number}", 1) for number in range(9)] + [outcome("a", "f1 1", 0)]
    one = [outcome("b", f"f0 {number}", 0) for number in range(9)] + [outcome("b", "f1 1", 1)]
    standing = Standing.heard([*many, *one])
    assert standing.passes.share([Voice("a")]) == pytest.approx(0.5)
    assert standing.passes.share([Voice("b")]) == pytest.approx(0.5)
    assert standing.fitness(Voice("a")) == 0.5
    assert standing.rates[Voice("b")] == {"f0": 0.0, "f1": 1.0}


def test_a_sampled_voice_is_asked_again_where_that_adds_most() -> None:
    standing = Standing.heard(
        [
            *(outcome("good", f"f{number} 1", 1, 2, warm=True) for number in range(4)),
            *(outcome("good", f"f{number} 1", 0) for number in range(4)),
            outcome("narrow", "f0 1", 1),
            *(outcome("narrow", f"f{number} 1", 0) for number in range(1, 4)),
        ]
    )
    force = standing.force(3, [])
    assert force.voices == (Voice("good", WARM), Voice("good", WARM), Voice("good", WARM))
    assert force.coverage == pytest.approx(1 - 0.5**3)
    assert standing.force(3, []).voices[:2] == standing.force(2, []).voices


def test_what_was_not_heard_is_no_baseline() -> None:
    greedy = Standing.heard([outcome(expert, "f0 1", 1) for expert in ("s0", "s1", "e0")])
    assert greedy.resampled(2, ["s0", "s1"]) is not None
    assert greedy.resampled(3, ["s0", "s1"]) is None, "nobody was sampled"
    assert greedy.resampled(1, ["nobody"]) is None
    assert len(greedy.force(8, ["s0", "s1"]).voices) == 3


def test_without_anybody_there_is_no_force() -> None:
    assert Standing().force(3, SEEDS).voices == ()
    assert Standing().alone(3).voices == ()


def test_of_skill_vectors_a_force_is_the_greedy_one_of_experts() -> None:
    skills: dict[str, dict[str, float]] = {
        "a": {"f0": True, "f1": False},
        "b": {"f0": 0.5, "f1": 0.75},
        "c": {"f1": True},
    }
    standing = Standing.graded(skills)
    for n in range(1, 4):
        force = task_force(skills, ["f0", "f1"], n)
        chosen = standing.force(n, [])
        assert tuple(voice.expert for voice in chosen.voices) == force.experts
        assert chosen.coverage == force.coverage[-1]
    assert standing.among(["c", "a"]).marks.keys() == {Voice("a"), Voice("c")}


def test_of_a_voice_that_never_answered_the_greedy_one_is_told() -> None:
    standing = Standing.graded({"a": {"f0": True, "f1": False}})
    assert standing.fitness(Voice("a", WARM)) == 0.5
    assert standing.known(Voice("nobody")) == {}
    assert standing.fitness(Voice("nobody")) == 0.0


def test_a_voice_is_read_with_its_temperature() -> None:
    assert Voice("g3-1").label == "g3-1"
    assert Voice("g3-1", 0.7).label == "g3-1 at 0.7"


@given(finals(), st.integers(1, 9))
def test_no_force_covers_less_than_a_smaller_one(standing: Standing, n: int) -> None:
    smaller, larger = (standing.force(size, SEEDS) for size in (n, n + 1))
    if len(larger.voices) > len(smaller.voices):
        assert larger.coverage >= smaller.coverage - 1e-12
