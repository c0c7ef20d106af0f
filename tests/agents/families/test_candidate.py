"""From proposals to families and back, and the names of families."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.families.candidate import field_of, slug
from agents.families.items import items_of
from agents.families.proposal import Proposal
from memory.records import Draft
from prompts import worked_example
from tests.agents.cases import report_of


def test_a_long_name_ends_with_a_whole_word() -> None:
    name = "Sort the words of a sentence by their second letter"
    assert slug(name) == "sort-the-words-of-a-sentence-by-their"
    assert slug("Spell: backward!") == "spell-backward"
    assert slug("x" * 50) == "x" * 40


@given(st.text())
def test_every_name_gives_a_short_folder_name(name: str) -> None:
    found = slug(name)
    assert 1 <= len(found) <= 40
    assert not found.startswith("-")
    assert not found.endswith("-")


def test_a_program_may_name_its_field() -> None:
    assert field_of("# generators: gcd\n# field: number theory\nimport math\n") == "number theory"
    assert field_of("import math\n") == ""


def test_a_family_is_its_proposal_and_facts() -> None:
    closed = {
        "reference_answers": {"1": "4", "2": "5"},
        "wrong_answers": {"1": ["14"], "2": ["22"]},
        "rated": True,
        "rubric": "Be kind.",
    }
    proposal = Proposal.model_validate(worked_example() | closed)
    draft = Draft(assignment="g0-a00", round=0, proposal=proposal.to_json())
    accepted = proposal.to_family(report_of(proposal), id="f0", scientist="model")
    assert Proposal.of(accepted) == Proposal.of(draft) == proposal
    assert (accepted.id, accepted.scientist, accepted.kind) == ("f0", "model", "novel")
    assert items_of(accepted) == items_of(proposal.to_family(report_of(proposal)))
