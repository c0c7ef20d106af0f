"""The life of a family: only what the table allows, and parents come back when they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import CurationError
from agents.families.lifecycle import TRANSITIONS, Happening, condemned, happening_of, move
from agents.task_force.field import history_of
from memory.records import Family, FamilyStatus
from memory.store import RunStore
from tests.agents.cases import family


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path) as opened:
        yield opened


def pair(store: RunStore) -> tuple[Family, Family]:
    """A parent that rests, and its harder child."""
    parent, child = family(0), family(1, kind="harder", parents=("f0",))
    store.put_family(parent)
    move(store, parent, "harder_tried")
    store.put_family(child)
    return parent, child


@pytest.mark.parametrize("status", get_args(FamilyStatus))
@pytest.mark.parametrize("happening", get_args(Happening))
def test_only_what_the_table_allows_can_happen(
    store: RunStore, status: FamilyStatus, happening: Happening
) -> None:
    store.put_family(family(0), status)
    if (status, happening) in TRANSITIONS:
        assert move(store, family(0), happening) == TRANSITIONS[status, happening]
    else:
        with pytest.raises(CurationError, match=f"f0 is {status}: {happening}"):
            move(store, family(0), happening)
    assert store.family_status("f0") == TRANSITIONS.get((status, happening), status)


@given(st.lists(st.sampled_from(get_args(Happening)), max_size=12))
def test_nothing_brings_a_retired_family_back(happenings: list[Happening]) -> None:
    status: FamilyStatus = "active"
    for happening in happenings:
        before, status = status, TRANSITIONS.get((status, happening), status)
        assert before != "retired" or status == "retired"


@pytest.mark.parametrize(
    ("happening", "rate", "reason"),
    [
        ("impossible", 0.0, "its harder child proved impossible"),
        ("least_discriminating", 0.0, "its harder child proved impossible"),
        ("condemned", 0.5, "its harder child was condemned"),
    ],
)
def test_a_parent_returns_when_its_harder_child_is_of_no_use(
    store: RunStore, happening: Happening, rate: float, reason: str
) -> None:
    parent, child = pair(store)
    move(store, child, happening, rate=rate)
    assert store.family_status(parent.id) == "active"
    assert [event.reason for event in store.family_events(parent.id)][-1] == reason
    assert store.family_status(child.id) == "retired"


def test_a_parent_stays_away_when_everybody_passes_its_harder_child(store: RunStore) -> None:
    parent, child = pair(store)
    move(store, child, "least_discriminating", rate=1.0)
    assert store.family_status(parent.id) == "held"


def test_only_a_harder_child_brings_its_parent_back(store: RunStore) -> None:
    parent, _ = pair(store)
    related = family(2, kind="related", parents=("f0",))
    store.put_family(related)
    move(store, related, "condemned")
    assert store.family_status(parent.id) == "held"


def test_a_condemned_family_says_why_and_once(store: RunStore) -> None:
    store.put_family(family(0))
    for _ in range(2):
        move(store, family(0), "condemned", detail="timeout: 10 s")
    events = [(event.status, event.reason) for event in store.family_events("f0")]
    assert events == [("active", "accepted"), ("retired", "condemned: timeout: 10 s")]


@pytest.mark.parametrize("before", ["impossible", "least_discriminating"])
def test_a_retired_family_that_is_condemned_later_leaves_the_history(
    store: RunStore, before: Happening
) -> None:
    """A report grades all that ever graded, so scorers break there too, and again."""
    store.put_family(family(0))
    store.put_family(family(1))
    move(store, family(0), before)
    for detail in ("crash: KeyError", "timeout: 10 s"):
        assert move(store, family(0), "condemned", detail=detail) == "retired"
    events = [event.reason for event in store.family_events("f0")]
    assert events[2:] == ["condemned: crash: KeyError"], "the first condemnation, once"
    assert condemned(store) == {"f0"}
    assert [each.id for each in history_of(store)] == ["f1"]


def test_what_happened_is_read_from_the_reason_of_any_version(store: RunStore) -> None:
    """These texts are in the databases of runs: another text would forget what they record."""
    reasons = ("condemned: crash: KeyError: 'x'", "condemned", "least discrimination")
    for number, reason in enumerate(reasons):
        store.put_family(family(number))
        store.set_family_status(f"f{number}", "retired", reason)
    found = [happening_of(event) for event in store.family_events() if event.status == "retired"]
    assert found == ["condemned", "condemned", "least_discriminating"]
    assert condemned(store) == {"f0", "f1"}
