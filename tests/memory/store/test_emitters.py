"""Emitters and their children in the store: told once, and not believed where they are damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.errors import ConflictError, DamagedError, StoreError
from memory.records import Emission, Emitter, Expert
from memory.store import RunStore

EMITTER = Emitter(
    id="cma-g1-0",
    generation=1,
    parent="words",
    columns=(0, 2),
    sigma=0.3,
    weights={"f1": 0.1 + 0.2},
)
EMISSION = Emission(expert="g1-0", emitter="cma-g1-0", vector=(0.1 + 0.2, -1e-17))


@pytest.fixture
def kept(store: RunStore, make_expert: Callable[..., Expert]) -> RunStore:
    """A store with a child that was asked for."""
    store.put_expert(make_expert("g1-0"))
    store.put_emitter(EMITTER)
    store.put_emission(EMISSION)
    return store


def test_what_was_asked_for_is_read_to_the_last_bit(kept: RunStore) -> None:
    assert kept.emitters() == [EMITTER]
    assert kept.emissions() == [EMISSION]


def test_asking_again_changes_nothing_and_otherwise_is_refused(kept: RunStore) -> None:
    kept.put_emitter(EMITTER)
    kept.put_emission(EMISSION)
    assert kept.emissions() == [EMISSION]
    with pytest.raises(ConflictError, match="cma-g1-0"):
        kept.put_emitter(EMITTER.model_copy(update={"sigma": 0.2}))
    with pytest.raises(ConflictError, match="g1-0"):
        kept.put_emission(EMISSION.model_copy(update={"vector": (1.0, 1.0)}))


def test_a_child_is_told_once_and_an_emitter_ends_once(kept: RunStore) -> None:
    kept.tell_emission("g1-0", 0.25)
    kept.tell_emission("g1-0", 0.75)
    kept.end_emitter("cma-g1-0", "first")
    kept.end_emitter("cma-g1-0", "second")
    assert [each.value for each in kept.emissions()] == [0.25]
    assert [each.ended for each in kept.emitters()] == ["first"]
    kept.put_emission(EMISSION)
    kept.put_emitter(EMITTER)
    assert [each.value for each in kept.emissions()] == [0.25], "asked again, it stays told"


def test_a_child_needs_its_expert_and_its_emitter(
    store: RunStore, make_expert: Callable[..., Expert]
) -> None:
    store.put_expert(make_expert("g1-0"))
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.put_emission(EMISSION)


def test_children_are_in_the_order_of_asking(
    kept: RunStore, make_expert: Callable[..., Expert]
) -> None:
    for name in ("g1-10", "g1-2"):
        kept.put_expert(make_expert(name))
        kept.put_emission(EMISSION.model_copy(update={"expert": name}))
    assert [each.expert for each in kept.emissions()] == ["g1-0", "g1-10", "g1-2"]


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE emissions SET value = 'much'", "emissions, record 1"),
        ("UPDATE emissions SET record = REPLACE(record, 'g1-0\"', 'g1-1\"')", "emissions"),
        ("UPDATE emitters SET ended = x'00'", "emitters, record cma-g1-0"),
        ("UPDATE emitters SET record = REPLACE(record, 'cma-g1-0', 'cma-g1-1')", "emitters"),
    ],
)
def test_a_damaged_record_is_named(kept: RunStore, damage: str, table: str) -> None:
    kept._write(damage)
    with pytest.raises(DamagedError, match=f"table {table}"):
        (kept.emitters(), kept.emissions())


def test_a_run_of_the_schema_before_has_none_and_gets_the_tables(
    kept: RunStore, folder: Path
) -> None:
    kept.close()
    with sqlite3.connect(folder / "run.db") as old:
        old.executescript("DROP TABLE emissions; DROP TABLE emitters; PRAGMA user_version = 3;")
    with RunStore.open(folder, read_only=True) as store:
        assert (store.emitters(), store.emissions()) == ([], [])
    with RunStore.open(folder) as store:
        store.put_emitter(EMITTER)
        assert store.emitters() == [EMITTER]
