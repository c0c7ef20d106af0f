"""The parts that pages are made of: matrix, ledger, words, scales, pictures, intervals."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.errors import RequestError
from console.view.ledger import Ledger
from console.view.matrix import SkillMatrix
from console.view.page import Column, Page, Row, Table, linked, ordered
from console.view.pages.embedding import principal
from console.view.pages.lineage import mix_in_words
from console.view.pages.operators import wilson
from console.view.render import View
from console.view.source import Source
from console.view.svg.charts import Bar, Line, Span, bar_chart, line_chart, span_chart
from console.view.svg.draw import Scale, clipped, tag, wide
from console.view.svg.heatmap import Label, heat_map
from console.view.svg.lineage import Node, lineage
from console.view.svg.scatter import Point, scatter
from console.view.words import as_csv, cut, duration, shown
from evolution.selection import coverage
from memory.records import Answer, Expert, Reply, Skill
from memory.store import RunStore
from tests.agents.cases import family

EVIL = "<script>alert(1)</script>&\"'\u202e\x1b[0m\x00\ud800"


def counts_of(matrix: SkillMatrix) -> dict[str, dict[str, Skill]]:
    return {expert: matrix.skills(expert) for expert in matrix.experts}


@st.composite
def matrices(draw: st.DrawFn) -> SkillMatrix:
    experts, families = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    asked = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=families, max_size=families),
            min_size=experts,
            max_size=experts,
        )
    )
    passes = [[draw(st.integers(0, most)) for most in row] for row in asked]
    known, got = np.array(asked), np.array(passes)
    rates = np.where(known > 0, got / np.maximum(known, 1), np.nan)
    names = [f"e{n}" for n in range(experts)], [f"f{n}" for n in range(families)]
    return SkillMatrix(*names, rates, got, known)


@given(matrix=matrices(), data=st.data())
def test_coverage_is_that_of_selection(matrix: SkillMatrix, data: st.DataObject) -> None:
    experts = data.draw(st.lists(st.sampled_from(matrix.experts), min_size=1, unique=True))
    families = data.draw(st.lists(st.sampled_from(matrix.families), min_size=1, unique=True))
    found = matrix.coverage(matrix.rows(experts), matrix.columns(families))
    expected = coverage(counts_of(matrix), experts, families)
    assert (found or 0.0) == pytest.approx(expected)


@given(matrix=matrices(), data=st.data())
def test_experts_are_compared_on_what_all_of_them_were_asked(
    matrix: SkillMatrix, data: st.DataObject
) -> None:
    some = data.draw(st.lists(st.sampled_from(range(len(matrix.experts))), unique=True))
    found = matrix.asked_of_all(some, range(len(matrix.families)))
    counts = counts_of(matrix)
    assert [matrix.families[place] for place in found] == [
        name
        for name in matrix.families
        if some and all(name in counts[matrix.experts[row]] for row in some)
    ]


@given(matrix=matrices())
def test_what_is_solved_alone_is_solved_by_nobody_else(matrix: SkillMatrix) -> None:
    everybody = range(len(matrix.experts))
    for row in everybody:
        for name in matrix.alone(row, everybody):
            column = matrix.column_of[name]
            solvers = np.flatnonzero(np.nan_to_num(matrix.rates[:, column]) > 0.5)
            assert solvers.tolist() == [row]


def test_the_latest_period_counts(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        store.put_genome("g", b"g")
        store.put_expert(Expert(id="e", genome_id="g", generation=0, birth=0, operator="seed"))
        store.put_family(family(0))
        for period, passes in ((2, 3), (0, 1), (-2, 4)):
            store.set_skill("e", "f0", Skill(passes=passes, asked=4), period)
        expected = store.skill_counts("e")["f0"]
    with Source("run", tmp_path).open() as run:
        matrix = SkillMatrix.of(run)
    assert matrix.passes.tolist() == [[expected.passes]] == [[3]]


def answer(number: int) -> Answer:
    reply = Reply(
        text="x", tokens_in=number, tokens_out=2 * number, finish_reason="stop", seconds=0.1
    )
    return Answer(
        key=f"k{number}",
        genome_id="g",
        instance_hash=f"i{number}",
        sample=0,
        reply=reply,
        extracted="x",
        unmarked=False,
    )


def test_a_ledger_reads_each_answer_once_and_adds_up(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        store.put_answers([answer(1), answer(2)])
        first = Ledger.empty().extended(store)
        assert first.total == (3, 6)
        store.put_answers([answer(3)])
        second = first.extended(store)
        assert second.total == (6, 12)
        assert np.array_equal(second.tokens, Ledger.empty().extended(store).tokens)
        assert second.extended(store) is second
    assert [second.after(share) for share in (0, 1 / 3, 1)] == [0, 3, 18]


@given(
    st.floats(-1e6, 1e6, allow_nan=False), st.floats(1e-6, 1e6, allow_nan=False), st.integers(2, 9)
)
def test_ticks_are_round_and_lie_on_the_axis(low: float, width: float, about: int) -> None:
    scale = Scale(low, low + width, 0, 100)
    ticks = scale.ticks(about)
    assert len(ticks) <= 2 * about + 2
    slack = 1e-6 * (abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in ticks)


def test_values_are_written_for_people() -> None:
    assert shown(1234567, "count") == "1,234,567"
    assert shown(0.256, "share") == "0.26"
    assert shown(0.256, "gain") == "+0.26"
    assert shown(None, "share") == "-"
    assert [shown(value, "verdict") for value in (True, False, None)] == [
        "right",
        "wrong",
        "not graded",
    ]
    assert shown(True, "failed") == "failed"
    assert shown(False, "failed") == ""
    assert [duration(s) for s in (0.0123, 5.25, 59, 61, 7300, 200_000)] == [
        "12 ms",
        "5.2 s",
        "59 s",
        "1 min 1 s",
        "2 h 1 min",
        "2 d 7 h",
    ]
    assert len(cut("x" * 10**6)) < 21_000


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-1", "-1"),
        ("+0.5", "+0.5"),
        ("-x", "'-x"),
        ("plain, with a comma", "plain, with a comma"),
        ("\x1b]0;x\x07\ud800", "\\x1b]0;x\\x07\\ud800"),
    ],
)
def test_a_spreadsheet_computes_nothing_of_what_a_model_wrote(written: str, kept: str) -> None:
    table = Table(
        "t", "t", [Column("a", "a"), Column("n", "n", "number")], [{"a": written, "n": -1}]
    )
    [row] = csv.DictReader(io.StringIO(as_csv(table)))
    assert row == {"a": kept, "n": "-1"}


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()), st.booleans())))
def test_any_values_can_be_sorted_and_nothing_is_lost(values: list[object]) -> None:
    rows = [{"a": value} for value in values]
    table = Table("t", "t", [Column("a", "a")], rows)
    for order in ("a", "-a"):
        page = ordered(Page("p", [table]), {"sort.t": order})
        found = page.table("t")
        assert found is not None
        assert sorted(map(repr, (row["a"] for row in found.rows))) == sorted(map(repr, values))
        absent = [row["a"] is None for row in found.rows]
        assert absent == sorted(absent)


def test_pages_of_a_table_hold_every_row_once() -> None:
    table = Table("t", "t", [Column("a", "a", "count")], [{"a": n} for n in range(250)])
    seen: list[Row] = []
    for number in ("1", "2", "3"):
        seen += View("/", "/", {"page.t": number}).rows(table)
    assert seen == table.rows
    assert View("/", "/", {"page.t": "99"}).number(table) == 3
    with pytest.raises(RequestError, match="'-1' is not a number"):
        View("/", "/", {"page.t": "-1"}).number(table)


def test_names_in_addresses_are_quoted() -> None:
    row = {"family": "a/b?c&d=e", "expert": "é"}
    assert linked("answers?family={family}&expert={expert}", row) == (
        "answers?family=a%2Fb%3Fc%26d%3De&expert=%C3%A9"
    )
    assert linked("experts/{}", row, "x/../y") == "experts/x%2F..%2Fy"


def test_cells_are_escaped() -> None:
    kinds = [Column("a", "a"), Column("a", "a", "code"), Column("a", "a", to="tasks/{a}")]
    kinds += [Column("n", "n", "names", "tasks/{}"), Column("n", "n", "names")]
    cells = View("/", "/", {}).cells(kinds, {"a": EVIL.replace("\ud800", ""), "n": ["<b>"]})
    assert "<script" not in cells
    assert "<b>" not in cells
    assert "\u202e" not in cells
    assert "\\x1b" in cells


def pictures() -> dict[str, str]:
    mix = [("c0", 0.5), ("c1", 0.5)]
    return {
        "lines": line_chart(EVIL, [Line(EVIL, [(0, 0.1), (1, None), (2, 0.3)])], EVIL),
        "no lines": line_chart("none", [Line("nothing", [])], "x"),
        "bars": bar_chart(EVIL, [Bar(EVIL, 3, EVIL), Bar("b", 0, "0")]),
        "spans": span_chart(EVIL, [Span(EVIL, 0.1, -0.1, 0.3)]),
        "heat map": heat_map(
            EVIL, [Label(EVIL, EVIL, EVIL)], [Label(EVIL, EVIL, EVIL)], [[(0.5, EVIL)]]
        ),
        "lineage": lineage(
            EVIL,
            [
                Node("a", 0, [], mix, EVIL, EVIL, True, True),
                Node("b", 0, ["a"], [], EVIL, "", False, False),
                Node(EVIL, 3, ["a", "b"], mix, EVIL, EVIL, True, True),
            ],
        ),
        "scatter": scatter(
            EVIL, [Point(0, 0, "c0", EVIL, EVIL, EVIL), Point(0, 0, "cx", "x", "x", "")]
        ),
        "empty map": heat_map("none", [], [], []),
        "empty lineage": lineage("none", []),
        "no points": scatter("none", []),
    }


@pytest.mark.parametrize("name", pictures())
def test_pictures_are_well_formed_have_a_name_and_hold_no_foreign_element(name: str) -> None:
    text = pictures()[name]
    root = ET.fromstring(text)
    assert root.get("aria-label")
    known = {"svg", "a", "g", "text", "title", "rect", "circle", "line", "path", "polyline"}
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= known
    assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)
    assert "\u202e" not in text
    assert "style=" not in text


NAMES = st.lists(st.text("abcdefgh ", min_size=1, max_size=70), min_size=1, max_size=12)


def extents(picture: str) -> list[tuple[float, float]]:
    """Left and right end of each text that stands upright, in the widest of the usual fonts."""
    found = []
    for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        if element.get("transform") is None:
            said = (element.text or "") + "".join(part.tail or "" for part in element)
            long, x = wide(said), float(element.get("x", "nan"))
            anchor = element.get("text-anchor", "start")
            left = x - {"start": 0.0, "middle": long / 2, "end": long}[anchor]
            found.append((left, left + long))
    return found


@given(names=NAMES, said=NAMES)
def test_no_label_of_a_chart_is_cut(names: list[str], said: list[str]) -> None:
    pairs = list(zip(names, said, strict=False))
    spans = [Span(name, 0.01 * n, -0.1 - n, 0.3 * n) for n, name in enumerate(names)]
    points = [Point(n % 3, n % 4, "c0", name, name, "") for n, name in enumerate(names)]
    rows = [Label(name, name, "") for name in names]
    for picture in (
        bar_chart("bars", [Bar(name, n, text) for n, (name, text) in enumerate(pairs)]),
        span_chart("spans", spans),
        line_chart("lines", [Line("y", [(0, 1), (1300.0, 2)])], "time", duration),
        scatter("points", points),
        heat_map("map", rows, rows, [[None] * len(rows)] * len(rows)),
    ):
        width = float(ET.fromstring(picture).get("width", "nan"))
        for left, right in extents(picture):
            assert left >= -0.1
            assert right <= width + 0.1


def test_a_long_name_keeps_its_end() -> None:
    assert clipped("Reversing a list of words by example, level 3", 30).endswith("level 3")
    assert len(clipped("x" * 100, 30)) == 30
    assert clipped("short", 30) == "short"


def test_a_merge_that_is_there_in_equal_parts_is_one_part() -> None:
    parts = [f"regmean-g4{part}" for part in (".numbers", ".words", "+spectral")]
    anchors = ["numbers", "words", *parts]
    whole = dict.fromkeys(parts, 1.2)
    assert mix_in_words(whole, anchors) == "1.20 of the merge of generation 4"
    assert mix_in_words({"words": 0.5} | whole, anchors) == (
        "0.50 of words + 1.20 of the merge of generation 4"
    )
    assert mix_in_words({parts[0]: 1.0}, anchors) == (
        "1.00 of the part of numbers in the merge of generation 4"
    )
    assert mix_in_words({}, anchors) == "the base"


def test_numbers_are_no_longer_than_they_have_to_be() -> None:
    assert tag("rect", x=1.0, y=2.25) == '<rect x="1" y="2.2"/>'


@given(st.integers(0, 50), st.integers(1, 50))
@example(0, 11)
def test_an_interval_of_a_share_holds_the_share(successes: int, more: int) -> None:
    of = successes + more
    low, high = wilson(successes, of)
    assert 0 <= low <= successes / of <= high <= 1


def test_the_interval_of_a_share_is_that_of_the_book() -> None:
    # Wilson (1927), as in Agresti and Coull (1998): 0 of 10 gives 0 to 0.278.
    low, high = wilson(0, 10)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(0.2775, abs=1e-3)


def test_principal_components_keep_what_lies_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    places = rng.normal(size=(30, 2)) * [3, 1]
    found, share = principal((places @ plane.T + 5).astype(np.float32))
    assert share == pytest.approx(1.0, abs=1e-4)
    distances = [math.dist(places[a], places[b]) for a in range(30) for b in range(a)]
    again = [math.dist(found[a], found[b]) for a in range(30) for b in range(a)]
    assert again == pytest.approx(distances, rel=1e-3)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_few_vectors_have_places_too(size: int) -> None:
    places, share = principal(np.eye(size, 4, dtype=np.float32))
    assert places.shape == (size, 2)
    assert np.isfinite(places).all()
    assert share == pytest.approx(1.0)
