"""Pass rates: what they are on counts, and that on verdicts every rule is what it was."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolution.selection import Candidate, survive
from evolution.selection.board import Board
from evolution.selection.parents import attraction, choose_parents
from evolution.selection.rates import GRID, STRONGEST, posterior, prior_of
from evolution.selection.settings import SelectionSettings
from memory.records import Skill
from tests.evolution.selection import verdicts

Population = tuple[list[Candidate], list[str]]

all_settings = st.builds(
    SelectionSettings,
    survival=st.sampled_from(["dns", "fitness", "niches"]),
    distance=st.sampled_from(["weighted", "unweighted", "hamming"]),
    ratio_to=st.sampled_from(["all", "unsolved"]),
    neighbours=st.integers(1, 4),
    sharing=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
)
chances_of = st.dictionaries(
    st.sampled_from([f"f{i}" for i in range(6)]), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)


@st.composite
def populations(draw: st.DrawFn, most_asked: int) -> Population:
    count, width = draw(st.integers(1, 8)), draw(st.integers(0, 6))
    names = [f"f{i}" for i in range(width)]
    people = []
    for index in range(count):
        skills = {}
        for name in names:
            asked = draw(st.integers(0, most_asked))
            if asked:
                skills[name] = Skill(passes=draw(st.integers(0, asked)), asked=asked)
        people.append(Candidate(f"e{index}", skills, draw(st.integers(0, 2)), index % 3))
    return people, names


def as_verdicts(people: Sequence[Candidate]) -> list[Candidate]:
    return [
        Candidate(
            each.id,
            {name: bool(isinstance(s, Skill) and s.passes) for name, s in each.skills.items()},
            each.generation,
            each.birth,
        )
        for each in people
    ]


@hypothesis_settings(deadline=None, max_examples=300)
@given(populations(most_asked=1), all_settings, chances_of)
def test_on_verdicts_every_rule_ranks_as_it_did(
    population: Population, settings: SelectionSettings, chances: dict[str, float]
) -> None:
    people, names = population
    expected = verdicts.ranking(as_verdicts(people), names, settings)
    for asked, generative in ((people, {}), (as_verdicts(people), {}), (people, chances)):
        ranking = survive(asked, names, 3, settings, generative).ranking
        assert [(r.id, r.fitness, r.novelty) for r in ranking] == expected


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("survival", ["dns", "niches"])
def test_on_many_verdicts_as_well(seed: int, survival: str) -> None:
    rng = random.Random(seed)
    names = [f"f{index}" for index in range(70)]
    people = [
        Candidate(
            f"e{index}",
            {name: rng.random() < 0.1 * (index % 7) for name in names if rng.random() < 0.95},
            index // 9,
            index % 9,
        )
        for index in range(60)
    ]
    settings = SelectionSettings(survival=survival, sharing=0.7, neighbours=rng.choice([1, 3, 5]))
    ranking = survive(people, names, 3, settings).ranking
    expected = verdicts.ranking(people, names, settings)
    assert [(r.id, r.fitness, r.novelty) for r in ranking] == expected


@hypothesis_settings(deadline=None)
@given(populations(most_asked=1))
def test_on_verdicts_attraction_is_what_it_was(population: Population) -> None:
    people, names = population
    board = Board.of(people, names)
    for row, first in enumerate(board.candidates):
        weights = attraction(board, [row])
        expected = verdicts.attraction(as_verdicts(people), names, first.id)
        assert {c.id: w for c, w in zip(board.candidates, weights, strict=True)} == expected


def by_the_book(
    people: Sequence[Candidate],
    names: Sequence[str],
    chances: dict[str, float],
    settings: SelectionSettings,
) -> list[tuple[str, Fraction]]:
    """Dominated Novelty Search on rates as plain double loops over dictionaries and fractions."""
    zero = Fraction(0)
    board = Board.of(people, names, chances)
    rates = {
        each.id: {
            name: Fraction(int(rate), GRID)
            for name, rate, graded in zip(names, row, graded_row, strict=True)
            if graded
        }
        for each, row, graded_row in zip(board.candidates, board.rates, board.graded, strict=True)
    }
    field: list[Candidate] = []
    for each in sorted(people, key=lambda p: p.seniority):
        if all(rates[each.id] != rates[other.id] for other in field):
            field.append(each)
    weight = dict.fromkeys(names, Fraction(1))
    if settings.distance == "weighted":
        for t in names:
            weight[t] = sum((1 - rates[p.id][t] for p in field if t in rates[p.id]), Fraction(0))

    def canonical(i: Candidate) -> tuple[object, ...]:
        others = [j for j in field if j is not i]
        best = {t: max([rates[j.id].get(t, zero) for j in others] or [zero]) for t in names}
        lead = sum((max(rate - best[t], zero) for t, rate in rates[i.id].items()), zero)
        fitness = Fraction(sum(rates[i.id].values()), max(len(rates[i.id]), 1))
        return (-fitness, -lead, i.seniority)

    def distance(i: Candidate, j: Candidate) -> Fraction:
        mine, theirs = rates[i.id], rates[j.id]
        both = [t for t in names if t in mine and t in theirs]
        if settings.distance == "hamming":
            return sum((abs(mine[t] - theirs[t]) for t in both), zero)
        top = sum((weight[t] * max(mine[t] - theirs[t], zero) for t in both), zero)
        unsolved = settings.ratio_to == "unsolved"
        bottom = sum((weight[t] * (1 - theirs[t] if unsolved else 1) for t in both), zero)
        return 100 * top / bottom if bottom else zero

    novelty = {}
    for i in field:
        fitter = [j for j in field if canonical(j) < canonical(i)]
        nearest = sorted(distance(i, j) for j in fitter)[: settings.neighbours]
        novelty[i.id] = sum(nearest, zero) / len(nearest) if fitter else Fraction(999)
    ranked = sorted(field, key=lambda p: (-novelty[p.id], canonical(p)))
    return [(p.id, novelty[p.id]) for p in ranked]


@hypothesis_settings(deadline=None)
@given(populations(most_asked=4), all_settings, chances_of)
def test_on_rates_novelty_agrees_with_the_plain_double_loop(
    population: Population, settings: SelectionSettings, chances: dict[str, float]
) -> None:
    people, names = population
    settings = settings.model_copy(update={"survival": "dns"})
    expected = by_the_book(people, names, chances, settings)
    ranking = survive(people, names, 3, settings, chances).ranking
    ahead = [(r.id, r.novelty) for r in ranking[: len(expected)]]
    assert ahead == [(name, float(novelty)) for name, novelty in expected]
    assert all(r.novelty == 0 for r in ranking[len(expected) :])


@hypothesis_settings(deadline=None)
@given(populations(most_asked=4), all_settings, chances_of, st.randoms(use_true_random=False))
def test_order_of_experts_and_families_changes_nothing_on_rates(
    population: Population,
    settings: SelectionSettings,
    chances: dict[str, float],
    shuffler: random.Random,
) -> None:
    people, names = population
    before = survive(people, names, 3, settings, chances)
    parents = choose_parents(people, names, np.random.default_rng(0), settings, 2, chances)
    shuffler.shuffle(people)
    shuffler.shuffle(names)
    assert survive(people, names, 3, settings, chances) == before
    again = choose_parents(people, names, np.random.default_rng(0), settings, 2, chances)
    assert again == parents


def test_an_example_worked_out_by_hand() -> None:
    """Rates of closed families need no prior: a 1 and 1/2, b 1/2 and 1, c 0 and 3/4.

    fails: 3/2 and 3/4 (sum 9/4). b beats a by 1/2 in the second: 1/2 x 3/4 of 9/4 = 1/6; c beats a
    by 1/4: 1/12, and b by nothing.
    """
    people = [
        Candidate("a", {"f0": Skill(passes=2, asked=2), "f1": Skill(passes=1, asked=2)}, 0, 0),
        Candidate("b", {"f0": Skill(passes=1, asked=2), "f1": Skill(passes=2, asked=2)}, 0, 1),
        Candidate("c", {"f0": Skill(passes=0, asked=4), "f1": Skill(passes=3, asked=4)}, 0, 2),
    ]
    settings = SelectionSettings(neighbours=2)
    # Equal fitness, but a leads by 1/2 in f0, b by 1/4 in f1.
    ranking = survive(people, ["f0", "f1"], 3, settings).ranking
    assert [(r.id, r.fitness, r.novelty) for r in ranking] == [
        ("a", 0.75, 999.0),
        ("b", 0.75, float(Fraction(100, 6))),
        ("c", 0.375, float(Fraction(100, 24))),
    ]
    weights = attraction(Board.of(people, ["f0", "f1"]), [0])
    assert list(weights) == [0.0, 0.375, 0.1875]
    apart = survive(people, ["f0", "f1"], 3, SelectionSettings(distance="hamming")).ranking
    assert {r.id: r.novelty for r in apart}["c"] == (1.25 + 0.75) / 2
    niches = survive(people, ["f0", "f1"], 3, SelectionSettings(survival="niches")).ranking
    # c leaves first: nothing of f0, and 3/4 of what 9/4 solve in f1.
    assert niches[-1].id == "c"
    assert niches[-1].novelty == pytest.approx((3 / 4) / (9 / 4) / 2)


def test_a_rate_is_shrunk_towards_the_mean_of_its_family_and_loses_its_chance() -> None:
    passes, asked = np.array([[4], [2], [0]]), np.full((3, 1), 4)
    prior = prior_of(passes, asked)
    # Rates 1, 1/2, 0: variance 1/4, less (0 + 1/12 + 0) / 3; within: (0 + 1/3 + 0) / 3.
    assert prior.strength == pytest.approx((1 / 9) / (1 / 4 - 1 / 36))
    assert list(prior.mean[:, 0]) == [0.5, 0.5, 0.5]
    high = (4 + prior.strength / 2) / (4 + prior.strength)
    plain = posterior(passes, asked, np.array([0.0]))[:, 0] / GRID
    assert plain == pytest.approx([high, 0.5, 1 - high], abs=1 / GRID)
    beyond = posterior(passes, asked, np.array([0.5]))[:, 0] / GRID
    assert beyond == pytest.approx([2 * high - 1, 0, 0], abs=1 / GRID)


def test_who_was_asked_less_is_shrunk_more() -> None:
    passes, asked = np.array([[4], [2], [4], [0], [0]]), np.array([[4], [2], [4], [4], [2]])
    rates = posterior(passes, asked, np.zeros(1))[:, 0] / GRID
    assert rates[0] == rates[2] == 1  # Nobody varies: there is nothing to shrink by.
    passes[0] = 3
    rates = posterior(passes, asked, np.zeros(1))[:, 0] / GRID
    mean = 9 / 16
    assert mean < rates[1] < rates[2] < 1
    assert 0 < rates[3] < rates[4] < mean


def test_a_better_expert_is_drawn_towards_what_it_does_elsewhere() -> None:
    """Of 30 experts one passes 80 % everywhere, the others 40 %."""
    rng = np.random.default_rng(0)
    truth = np.full((30, 40), 0.4)
    truth[0] = 0.8
    asked = np.full(truth.shape, 4)
    passes = rng.binomial(asked, truth)
    prior = prior_of(passes, asked)
    assert 0.65 < prior.mean[0].mean() < 0.8
    assert prior.mean[1:].mean(axis=1) == pytest.approx(0.4, abs=0.1)
    rates = posterior(passes, asked, np.zeros(40)) / GRID
    assert np.square(rates - truth).mean() < 0.2 * np.square(passes / asked - truth).mean()


@pytest.mark.parametrize("strength", [0.3, 1.0, 4.0, 12.0])
def test_the_strength_of_the_prior_is_found_again(strength: float) -> None:
    rng = np.random.default_rng(0)
    means = rng.uniform(0.1, 0.9, size=400)
    rates = rng.beta(strength * means, strength * (1 - means), size=(200, 400))
    asked = rng.integers(1, 6, size=rates.shape)
    assert prior_of(rng.binomial(asked, rates), asked).strength == pytest.approx(strength, rel=0.1)


def test_where_experts_do_not_differ_the_luckiest_is_hardly_better() -> None:
    rng = np.random.default_rng(0)
    asked = np.full((32, 40), 4)
    passes = rng.binomial(asked, 0.5)
    assert STRONGEST / 4 < prior_of(passes, asked).strength <= STRONGEST
    plain = (passes / asked).mean(axis=1)
    shrunk = posterior(passes, asked, np.zeros(40)).mean(axis=1) / GRID
    assert shrunk.max() - 0.5 < 0.3 * (plain.max() - 0.5)
    assert list(np.argsort(shrunk)[-3:]) == list(np.argsort(plain)[-3:])


@hypothesis_settings(deadline=None)
@given(populations(most_asked=9), chances_of)
def test_rates_are_rates_and_missing_ones_nothing(
    population: Population, chances: dict[str, float]
) -> None:
    people, names = population
    board = Board.of(people, names, chances)
    assert ((board.rates >= 0) & (board.rates <= GRID)).all()
    assert not board.rates[~board.graded].any()
    assert all(math.isfinite(float(value)) and 0 <= value <= 1 for value in board.fitness())
