"""Parents: rules by name, checked by their frequencies."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from evolution.selection import Candidate
from evolution.selection.parents import choose_parents
from evolution.selection.settings import SelectionSettings

FAMILIES = ["f0", "f1", "f2", "f3"]


def candidate(name: str, entries: str, birth: int) -> Candidate:
    skills = {f"f{i}": mark == "1" for i, mark in enumerate(entries) if mark != "-"}
    return Candidate(name, skills, 0, birth)


ARCHIVE = [
    candidate("a", "1110", 0),  # fitness 3/4
    candidate("b", "1000", 1),  # 1/4
    candidate("c", "0001", 2),  # 1/4
    candidate("d", "0000", 3),  # 0
]


def frequencies(
    archive: list[Candidate], mating: str, n: int = 2, draws: int = 4000
) -> Counter[tuple[str, ...]]:
    rng = np.random.default_rng(0)
    settings = SelectionSettings(mating=mating)
    pairs: Counter[tuple[str, ...]] = Counter()
    for _ in range(draws):
        pairs[choose_parents(archive, FAMILIES, rng, settings, n)] += 1
    return pairs


def shares(pairs: Counter[tuple[str, ...]], place: int) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for parents, count in pairs.items():
        counts[parents[place]] += count
    return {name: count / counts.total() for name, count in counts.items()}


def test_uniform_draws_every_pair_equally() -> None:
    pairs = frequencies(ARCHIVE, "uniform")
    assert len(pairs) == 12
    assert all(count / 4000 == pytest.approx(1 / 12, abs=0.02) for count in pairs.values())


def test_attraction_draws_the_first_by_fitness() -> None:
    first = shares(frequencies(ARCHIVE, "attraction"), 0)
    assert first == {
        "a": pytest.approx(0.6, abs=0.03),
        "b": pytest.approx(0.2, abs=0.03),
        "c": pytest.approx(0.2, abs=0.03),
    }


def test_attraction_draws_the_second_by_what_the_first_lacks() -> None:
    pairs = frequencies(ARCHIVE, "attraction")
    # Only c passes f3, which a fails.
    assert {second for first, second in pairs if first == "a"} == {"c"}
    # b lacks f1, f2, f3, each failed by three: a passes two of them, c one.
    after_b = {second: count for (first, second), count in pairs.items() if first == "b"}
    assert after_b["a"] / sum(after_b.values()) == pytest.approx(2 / 3, abs=0.06)
    # c lacks f0 (failed by 2), f1 and f2 (by 3 each): a passes 8, b 2.
    after_c = {second: count for (first, second), count in pairs.items() if first == "c"}
    assert after_c["a"] / sum(after_c.values()) == pytest.approx(8 / 10, abs=0.06)


def test_attraction_without_fitness_or_complement_is_uniform() -> None:
    nobody = [candidate(name, "0000", birth) for birth, name in enumerate("abc")]
    assert len(frequencies(nobody, "attraction")) == 6
    equals = [candidate(name, "1100", birth) for birth, name in enumerate("abc")]
    assert len(frequencies(equals, "attraction")) == 6


def test_a_missing_entry_attracts_nobody() -> None:
    archive = [candidate("a", "111-", 0), candidate("c", "0001", 1), candidate("d", "0000", 2)]
    pairs = frequencies(archive, "attraction")
    assert {second for first, second in pairs if first == "a"} == {"c", "d"}


def test_fitness_draws_both_by_fitness() -> None:
    pairs = frequencies(ARCHIVE, "fitness")
    assert shares(pairs, 0)["a"] == pytest.approx(0.6, abs=0.03)
    after_a = {second for first, second in pairs if first == "a"}
    assert after_a == {"b", "c"}


def test_third_parent_is_uniform_among_the_others() -> None:
    triples = frequencies(ARCHIVE, "attraction", n=3)
    assert all(len(set(parents)) == 3 for parents in triples)
    thirds = {p[2]: count for p, count in triples.items() if p[:2] == ("a", "c")}
    assert set(thirds) == {"b", "d"}
    assert thirds["b"] / sum(thirds.values()) == pytest.approx(0.5, abs=0.05)


def test_the_order_of_candidates_does_not_matter() -> None:
    shuffled = list(ARCHIVE)
    random.Random(1).shuffle(shuffled)
    assert frequencies(shuffled, "attraction", draws=50) == frequencies(
        ARCHIVE, "attraction", draws=50
    )


def test_a_lone_candidate_mates_with_itself() -> None:
    rng = np.random.default_rng(0)
    assert choose_parents(ARCHIVE[:1], FAMILIES, rng, SelectionSettings(), 3) == ("a", "a", "a")
    with pytest.raises(ValueError, match="no candidates"):
        choose_parents([], FAMILIES, rng, SelectionSettings())
