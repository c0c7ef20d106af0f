"""Code is the project's own if it is, letter for letter, what the offline scientist writes."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS

from agents.evaluation.scoring import _PROGRAM, EVALUATING, borrows_scorer
from agents.offline import wrote
from agents.offline.author import write
from agents.offline.catalogue import CATALOGUE
from agents.offline.sketches import Sketch, read_sketch
from agents.offline.writer import _longer_forms, _plain, _variants


def sketches() -> list[Sketch]:
    rng = Random(3)
    found = []
    for entry in CATALOGUE:
        found += _variants(entry) + _longer_forms(_plain(entry), rng)
    return [*found, *(replace(sketch, distinct=True) for sketch in found)]


CODES = [str(write(sketch)["code"]) for sketch in sketches()]


def test_all_that_is_written_is_known_again() -> None:
    assert len(CODES) > 200
    assert all(map(wrote, CODES))


@given(st.sampled_from(CODES), st.data())
def test_one_other_letter_makes_it_foreign(code: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(code)))
    letter = data.draw(st.characters(codec="utf-8"))
    assert not wrote(code[:place] + letter + code[place:])
    if code[place : place + 1] not in ("", letter):
        assert not wrote(code[:place] + letter + code[place + 1 :])


@pytest.mark.parametrize(
    "fields",
    [
        {"generators": ["os.system"]},
        {"generators": []},
        {"generators": ["gcd", "lcm"]},
        {"level": 2},
        {"seed": 1},
        {"form": "strange"},
        {"form": "composed"},
        {"form": "composed", "generators": ["gcd", "word_sorting"]},
        {"form": "extended", "generators": ["spell_backward"]},
        {"form": "shown", "generators": ["knights_knaves"]},
        {"form": "reworded", "wording": 99},
        {"form": "reworded", "own_scorer": False},
        {"wording": -1},
        {"own_scorer": False},
    ],
)
def test_a_header_that_nobody_here_writes_is_none(fields: dict[str, object]) -> None:
    own = {"generators": ["gcd"], "form": "plain", "own_scorer": True}
    assert read_sketch(f"# sketch: {json.dumps(own)}\n") is not None
    code = f"# sketch: {json.dumps(own | fields)}\n"
    assert read_sketch(code) is None
    assert not wrote(code)
    assert read_sketch("# sketch: {not JSON}\n") is None
    assert not wrote("# sketch: {not JSON}\n")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), min_size=1))
def test_a_program_over_a_scorer_of_reasoning_gym_is_known(entry: dict[str, object]) -> None:
    program = _PROGRAM.format(entries=json.dumps({"0": entry}), dataset="gcd")
    assert borrows_scorer(program)
    assert not borrows_scorer(program + "\nimport os")
    assert not borrows_scorer(program.replace("get_score_answer_fn", "eval"))
    assert not borrows_scorer(program.replace("'gcd'", "'gcd' + str(print())"))
    assert not borrows_scorer(program.replace("'gcd'", "'countdown'"))


def test_scorers_that_execute_answers_are_known_by_name() -> None:
    found = {
        name
        for name, (kind, _) in DATASETS.items()
        if any(
            word in inspect.getsource(kind.score_answer)
            for word in ("parse_expr(", "sympify(", " exec(", "(eval(answer", " eval(answer")
        )
    }
    assert found == EVALUATING
