"""Survival: Dominated Novelty Search and its alternatives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolution.selection import Candidate, survive, undergraded
from evolution.selection.settings import SelectionSettings

DNS = SelectionSettings()


def candidate(name: str, entries: str, generation: int = 0, birth: int = 0) -> Candidate:
    """`entries`: one letter per family, 1 passed, 0 failed, - missing."""
    skills = {f"f{i}": mark == "1" for i, mark in enumerate(entries) if mark != "-"}
    return Candidate(name, skills, generation, birth)


def families(count: int) -> list[str]:
    return [f"f{i}" for i in range(count)]


@st.composite
def populations(draw: st.DrawFn) -> tuple[list[Candidate], list[str]]:
    count = draw(st.integers(1, 7))
    width = draw(st.integers(0, 6))
    rows = [draw(st.text("01-", min_size=width, max_size=width)) for _ in range(count)]
    ages = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(count)]
    people = [candidate(f"e{i}", row, *ages[i]) for i, row in enumerate(rows)]
    return people, families(width)


all_settings = st.builds(
    SelectionSettings,
    survival=st.sampled_from(["dns", "fitness", "niches"]),
    distance=st.sampled_from(["weighted", "unweighted", "hamming"]),
    ratio_to=st.sampled_from(["all", "unsolved"]),
    neighbours=st.integers(1, 4),
    sharing=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)


def fitness_of(person: Candidate, names: Sequence[str]) -> Fraction:
    entries = [person.skills[name] is True for name in names if name in person.skills]
    return Fraction(sum(entries), max(len(entries), 1))


def by_the_book(
    people: Sequence[Candidate], names: Sequence[str], settings: SelectionSettings
) -> list[tuple[str, Fraction]]:
    """Dominated Novelty Search as plain double loops over dictionaries and fractions."""
    oldest: dict[tuple[object, ...], Candidate] = {}
    for person in sorted(people, key=lambda p: (p.generation, p.birth, p.id)):
        oldest.setdefault(tuple(person.skills.get(name) for name in names), person)
    field = list(oldest.values())
    fails = {t: sum(p.skills.get(t) is False for p in field) for t in names}
    weight = fails if settings.distance == "weighted" else dict.fromkeys(names, 1)

    def unique(person: Candidate) -> int:
        return sum(
            person.skills.get(t) is True and sum(q.skills.get(t) is True for q in field) == 1
            for t in names
        )

    def canonical(person: Candidate) -> tuple[object, ...]:
        age = (person.generation, person.birth, person.id)
        return (-fitness_of(person, names), -unique(person), *age)

    def distance(i: Candidate, j: Candidate) -> Fraction:
        both = [t for t in names if t in i.skills and t in j.skills]
        if settings.distance == "hamming":
            return Fraction(sum(i.skills[t] != j.skills[t] for t in both))
        top = sum(weight[t] for t in both if i.skills[t] and not j.skills[t])
        whole = [t for t in both if settings.ratio_to == "all" or not j.skills[t]]
        bottom = sum(weight[t] for t in whole)
        return Fraction(100 * top, bottom) if bottom else Fraction(0)

    novelty = {}
    for i in field:
        fitter = [j for j in field if canonical(j) < canonical(i)]
        nearest = sorted(distance(i, j) for j in fitter)[: settings.neighbours]
        novelty[i.id] = sum(nearest, Fraction(0)) / len(nearest) if fitter else Fraction(999)
    ranked = sorted(field, key=lambda p: (-novelty[p.id], canonical(p)))
    return [(p.id, novelty[p.id]) for p in ranked]


@hypothesis_settings(deadline=None)
@given(populations(), all_settings)
def test_agrees_with_the_plain_double_loop(
    population: tuple[list[Candidate], list[str]], settings: SelectionSettings
) -> None:
    people, names = population
    settings = settings.model_copy(update={"survival": "dns"})
    expected = by_the_book(people, names, settings)
    ranking = survive(people, names, 3, settings).ranking
    assert [r.id for r in ranking[: len(expected)]] == [name for name, _ in expected]
    assert [r.novelty for r in ranking[: len(expected)]] == [float(n) for _, n in expected]
    assert all(r.novelty == 0 for r in ranking[len(expected) :])


@hypothesis_settings(deadline=None)
@given(populations(), all_settings, st.integers(1, 5), st.randoms(use_true_random=False))
def test_order_of_experts_and_families_changes_nothing(
    population: tuple[list[Candidate], list[str]],
    settings: SelectionSettings,
    capacity: int,
    shuffler: random.Random,
) -> None:
    people, names = population
    before = survive(people, names, capacity, settings)
    shuffler.shuffle(people)
    shuffler.shuffle(names)
    assert survive(people, names, capacity, settings) == before


@hypothesis_settings(deadline=None)
@given(populations(), all_settings, st.integers(1, 9))
def test_keeps_the_first_of_the_ranking(
    population: tuple[list[Candidate], list[str]], settings: SelectionSettings, capacity: int
) -> None:
    people, names = population
    result = survive(people, names, capacity, settings)
    assert {r.id for r in result.ranking} == {p.id for p in people}
    assert result.kept == result.ranking[:capacity]
    assert [r.fitness for r in result.ranking] == [
        float(fitness_of(next(p for p in people if p.id == r.id), names)) for r in result.ranking
    ]


def test_an_example_worked_out_by_hand() -> None:
    """Fails per family: 1, 2, 1, 2 (sum 6).

    b passes f2, which a fails: 1/6. c passes f2 and f3 beside a (3/6), f3 beside b (2/6).
    """
    people = [candidate("a", "1100"), candidate("b", "1010", 0, 1), candidate("c", "0011", 0, 2)]
    # Equal fitness; unique solves: a f1, b none, c f3; so the canonical order is a, c, b.
    ranking = survive(people, families(4), 2, DNS).ranking
    assert [(r.id, r.novelty) for r in ranking] == [
        ("a", 999.0),
        ("c", 50.0),
        ("b", float((Fraction(100, 6) + Fraction(100, 6)) / 2)),
    ]


def test_families_that_all_solve_or_that_none_was_graded_on_weigh_nothing() -> None:
    people = [candidate("a", "111-"), candidate("b", "110-", 0, 1)]
    ranking = survive(people, families(4), 2, DNS).ranking
    assert [(r.id, r.novelty) for r in ranking] == [("a", 999.0), ("b", 0.0)]


def test_missing_entries_are_no_failures() -> None:
    """b was not graded on f1: its skill f2 is measured over f0 and f2 only."""
    people = [candidate("a", "1110"), candidate("b", "0--1", 0, 1), candidate("c", "0001", 0, 2)]
    ranking = {r.id: r for r in survive(people, families(4), 3, DNS).ranking}
    assert ranking["b"].fitness == 0.5
    # fails: f0 2, f1 1, f2 1, f3 1; common to b and a: f0 and f3.
    assert ranking["b"].novelty == float(Fraction(100, 3))


def test_of_identical_experts_only_the_oldest_competes() -> None:
    champion = candidate("champion", "1110", 0, 0)
    old, young = candidate("old", "0001", 1, 0), candidate("young", "0001", 2, 0)
    weak = candidate("weak", "1000", 0, 1)
    ranking = survive([young, weak, old, champion], families(4), 4, DNS).ranking
    assert [r.id for r in ranking] == ["champion", "old", "weak", "young"]
    alone = survive([weak, old, champion], families(4), 4, DNS).ranking
    assert ranking[:3] == alone


def test_a_graded_failure_and_a_missing_entry_are_not_identical() -> None:
    people = [candidate("a", "11"), candidate("b", "10", 0, 1), candidate("c", "1-", 0, 2)]
    names = [r.id for r in survive(people, families(2), 3, DNS).ranking]
    assert sorted(names) == ["a", "b", "c"]
    assert len([p for p in people if p.id in names]) == 3


def test_variants_of_the_reference() -> None:
    """The lower b adds f2 and f3 to a, and fails f0 and f1; f4 nobody solves."""
    people = [candidate("a", "11100"), candidate("b", "00110", 0, 1), candidate("c", "00000", 0, 2)]

    def novelty_of_b(**variant: str) -> float:
        settings = SelectionSettings.model_validate(variant)
        return next(
            r.novelty for r in survive(people, families(5), 3, settings).ranking if r.id == "b"
        )

    # fails: 2, 2, 1, 2, 3 (sum 10); b adds f3.
    assert novelty_of_b() == 20.0
    assert novelty_of_b(ratio_to="unsolved") == 40.0
    assert novelty_of_b(distance="unweighted") == 20.0
    assert novelty_of_b(distance="unweighted", ratio_to="unsolved") == 50.0
    assert novelty_of_b(distance="hamming") == 3.0


def test_niches_keep_one_of_two_equals_and_the_specialist() -> None:
    people = [
        candidate("a", "11110", 0, 0),
        candidate("twin", "11110", 0, 1),
        candidate("specialist", "00001", 0, 2),
    ]
    settings = SelectionSettings(survival="niches")
    kept = {r.id for r in survive(people, families(5), 2, settings).kept}
    assert kept == {"a", "twin"}  # 4 families shared by two are worth 2, one family alone 1
    people.append(candidate("triplet", "11110", 0, 3))
    people.append(candidate("quad", "11110", 0, 4))
    people.append(candidate("quint", "11110", 0, 5))
    shared = survive(people, families(5), 5, settings).ranking
    assert shared[-1].id == "quint"
    assert shared[-1].novelty == pytest.approx(4 / 5 / 5)
    assert "specialist" in {r.id for r in shared[:5]}


def test_pure_fitness_takes_the_fittest() -> None:
    people = [candidate("a", "100"), candidate("b", "110"), candidate("c", "111")]
    settings = SelectionSettings(survival="fitness")
    assert [r.id for r in survive(people, families(3), 2, settings).kept] == ["c", "b"]


def test_nobody_and_nothing() -> None:
    assert survive([], families(2), 3, DNS).kept == ()
    assert survive([candidate("a", "")], [], 3, DNS).kept[0].fitness == 0.0


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="candidate 'a' is given twice"):
        survive([candidate("a", "1"), candidate("a", "0")], families(1), 1, DNS)


def test_undergraded_are_those_below_nine_tenths() -> None:
    exactly = candidate("exactly", "111111111-")
    below = candidate("below", "11111111--")
    assert undergraded([exactly, below], families(10)) == ["below"]
