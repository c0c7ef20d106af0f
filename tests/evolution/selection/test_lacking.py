"""What a task force lacks, split into niches, and what an expert would add."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolution.selection import Board, Candidate, coverage, task_force
from evolution.selection.lacking import Niche, gains, lacking, niches
from evolution.selection.rates import GRID
from memory.records import Skill


def board(**rows: str) -> Board:
    """Verdicts on closed families: 1, 0, or - where it is missing."""
    width = len(next(iter(rows.values())))
    candidates = [
        Candidate(name, {f"f{i}": mark == "1" for i, mark in enumerate(row) if mark != "-"}, 0, n)
        for n, (name, row) in enumerate(rows.items())
    ]
    return Board.of(candidates, families(width))


def families(count: int) -> list[str]:
    return [f"f{i}" for i in range(count)]


def test_a_force_lacks_what_none_of_it_passes() -> None:
    of = board(wide="11100", last="00010", more="01000")
    assert lacking(of, 1).tolist() == [0, 0, 0, 1, 1]
    assert lacking(of, 2).tolist() == [0, 0, 0, 0, 1]


def test_of_pass_rates_it_lacks_the_product_of_what_each_fails() -> None:
    counts = {"a": (3, 1), "b": (1, 2), "c": (0, 4)}
    candidates = [
        Candidate(
            name, {f"f{i}": Skill(passes=p, asked=4) for i, p in enumerate(row)}, 0, len(name)
        )
        for name, row in counts.items()
    ]
    of = Board.of(candidates, families(2), dict.fromkeys(families(2), 0.0))
    rates = of.rates / GRID
    np.testing.assert_allclose(lacking(of, 3), np.prod(1 - rates, axis=0))
    assert (lacking(of, 3) < lacking(of, 1)).all()


def test_a_niche_is_what_one_expert_outside_the_force_has_most_of() -> None:
    of = board(force="1111000000", left="0000111000", right="0000000110", weak="0000100000")
    found = niches(of, families(10), size=1, most=2)
    assert [niche.parent for niche in found] == ["left", "right"]
    # What nobody passes falls to the first.
    assert set(found[0].weights) == {"f4", "f5", "f6", "f9"}
    assert set(found[1].weights) == {"f7", "f8"}
    assert niches(of, families(10), 1, 2, taken=found[0].weights)[0] == Niche(
        "right", {"f7": 1.0, "f8": 1.0}
    )


def test_where_nobody_passes_anything_the_fittest_begins() -> None:
    of = board(fit="110", other="010")
    assert niches(of, families(3), size=2, most=2) == [Niche("fit", {"f2": 1.0})]


def test_a_force_that_passes_everything_leaves_no_niche() -> None:
    assert niches(board(a="10", b="01"), families(2), size=2, most=2) == []
    assert niches(board(a="10"), families(2), size=1, most=2, taken=["f1"]) == []


def test_a_gain_is_a_share_of_what_is_lacked_and_graded() -> None:
    of = board(half="10-1", all="1101", none="0000")
    weights = {"f0": 0.5, "f1": 1.0, "f2": 1.0, "gone": 9.0}
    found = gains(of, families(4), weights)
    assert found == pytest.approx({"half": 0.5 / 1.5, "all": 1.5 / 2.5, "none": 0.0})
    assert set(gains(of, families(4), {"gone": 1.0}).values()) == {0.0}


@st.composite
def boards(draw: st.DrawFn) -> tuple[Board, list[str]]:
    width = draw(st.integers(1, 6))
    rows = draw(st.lists(st.text("01-", min_size=width, max_size=width), min_size=1, max_size=6))
    return board(**{f"e{i}": row for i, row in enumerate(rows)}), families(width)


@given(boards(), st.integers(1, 4), st.integers(1, 4))
def test_niches_split_what_is_lacked(case: tuple[Board, list[str]], size: int, most: int) -> None:
    of, names = case
    left = dict(zip(names, lacking(of, size).tolist(), strict=True))
    found = niches(of, names, size, most)
    weights = [item for niche in found for item in niche.weights.items()]
    assert len(found) <= most
    assert dict(weights) == {name: value for name, value in left.items() if value > 0}
    assert len(dict(weights)) == len(weights), "no family is in two niches"
    assert len({niche.parent for niche in found}) == len(found)


@given(boards(), st.integers(1, 4))
def test_the_gain_is_what_a_force_would_cover_more(
    case: tuple[Board, list[str]], size: int
) -> None:
    of, names = case
    skills = {each.id: dict(each.skills) for each in of.candidates}
    force = task_force(skills, names, size).experts
    weights = dict(zip(names, lacking(of, size).tolist(), strict=True))
    complete = [each.id for each in of.candidates if len(each.skills) == len(names)]
    for name in complete:
        more = coverage(skills, [*force, name], names) - coverage(skills, force, names)
        share = gains(of, names, weights)[name]
        assert share * sum(weights.values()) == pytest.approx(more * len(names))
