"""Names of families."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.families.candidate import slug


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
