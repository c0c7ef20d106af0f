"""Emitters of a run: who asks next, what they are told, and when they end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agents.archive.emitting import PATIENCE, Course, courses, in_turn, niche_left, tell
from agents.config import RunConfig
from agents.context import RunContext
from evolution.breeding.search import Search
from evolution.genome.genome import Genome
from evolution.selection import Board, Candidate
from memory.records import ArchiveEntry, Emission, Emitter, Expert
from memory.store import RunStore
from tests.agents.cases import family, run_context

GENOME = Genome(np.zeros((4, 2), np.float32))
SEARCH = Search(GENOME, (0, 1))
SIZE = SEARCH.population


def emitter(name: str, weights: Sequence[str] = ("f0",)) -> Emitter:
    return Emitter(
        id=name,
        generation=1,
        parent="parent",
        columns=(0, 1),
        sigma=0.3,
        weights=dict.fromkeys(weights, 1.0),
    )


def course(name: str, told: int, asked: int, weights: Sequence[str] = ("f0",)) -> Course:
    """A search of which so many children are told, and others are only asked for."""
    emissions = tuple(
        Emission(
            expert=f"{name}-{place}",
            emitter=name,
            vector=tuple(np.full(SEARCH.dimensions, float(place % SIZE))),
            value=place / 100 if place < told else None,
        )
        for place in range(told + asked)
    )
    return Course(emitter(name, weights), SEARCH, emissions)


@pytest.mark.parametrize(
    ("going", "next_one"),
    [
        ([], None),
        ([(0, 0), (0, 3)], 1),
        ([(SIZE, 0), (0, SIZE)], 0),
        ([(SIZE, 2), (0, 0)], 0),
        ([(SIZE, 0), (2 * SIZE, 0)], 0),
        ([(SIZE - 1, 0), (SIZE, 0)], 0),
        ([(0, SIZE), (SIZE, SIZE)], None),
        ([(SIZE - 1, 1), (SIZE, SIZE)], None),
    ],
)
def test_a_batch_is_asked_for_in_one_go_and_nobody_asks_before_it_is_told(
    going: list[tuple[int, int]], next_one: int | None
) -> None:
    found = in_turn([course(str(place), *each) for place, each in enumerate(going)])
    assert (None if found is None else int(found.emitter.id)) == next_one


def test_another_one_begins_in_what_is_lacked_and_not_looked_for() -> None:
    candidates = [
        Candidate(name, {f"f{i}": mark == "1" for i, mark in enumerate(row)}, 0, place)
        for place, (name, row) in enumerate({"fit": "11100", "other": "00010"}.items())
    ]
    names = [f"f{number}" for number in range(5)]
    board = Board.of(candidates, names)
    first = niche_left(board, names, [])
    assert first is not None
    assert first.weights == {"f4": 1.0}
    whole = course("a", SIZE, 0, ["f4"])
    assert niche_left(board, names, [whole]) is None, "nothing else is lacked"
    elsewhere = course("a", SIZE, 0, ["f0"])
    assert niche_left(board, names, [elsewhere]) == first
    assert niche_left(board, names, [course("a", 0, 1, ["f0"])]) is None, "its batch is open"
    assert niche_left(board, names, [elsewhere, course("b", SIZE, 0, ["f1"])]) is None


@pytest.mark.parametrize(
    ("batches", "archive", "active", "reason"),
    [
        (PATIENCE, {"a-0"}, {"f0"}, "others dominate"),
        (PATIENCE - 1, {"a-0"}, {"f0"}, None),
        (PATIENCE, {f"a-{PATIENCE * SIZE - 1}"}, {"f0"}, None),
        (0, set(), {"f1"}, "have left the pool"),
    ],
)
def test_it_is_over_when_others_dominate_its_best_child_or_nothing_is_asked(
    batches: int, archive: set[str], active: set[str], reason: str | None
) -> None:
    ended = course("a", batches * SIZE, 0).end(archive, active)
    assert (ended is None) if reason is None else (ended is not None and reason in ended)


def test_it_is_over_when_its_children_are_all_alike() -> None:
    going = course("a", PATIENCE * SIZE, 0)
    vector = (0.5,) * SEARCH.dimensions
    alike = tuple(each.model_copy(update={"vector": vector}) for each in going.emissions)
    best = alike[-1].expert
    assert Course(going.emitter, SEARCH, alike).end({best}, {"f0"}) == "its children are all alike"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    """Two children that an emitter asked for have been judged; f0 and f1 are its niche."""
    payload = GENOME.to_bytes()
    with RunStore.open(tmp_path) as store:
        for number in range(3):
            store.put_family(family(number))
        for birth, (name, passes) in enumerate(
            {"parent": "001", "g1-0": "100", "g1-1": "111"}.items()
        ):
            store.put_genome(name, payload)
            generation = int(birth > 0)
            store.put_expert(
                Expert(id=name, genome_id=name, generation=generation, birth=birth, operator="cma")
            )
            for number, passed in enumerate(passes):
                store.set_skill(name, f"f{number}", passed == "1")
        store.put_archive(1, [ArchiveEntry(expert="parent", rank=0, fitness=0.3, novelty=999.0)])
        store.put_emitter(emitter("e", ["f0", "f1"]))
        for name in ("g1-0", "g1-1"):
            vector = (0.1,) * SEARCH.dimensions
            store.put_emission(Emission(expert=name, emitter="e", vector=vector))
        decoding = SimpleNamespace(decode=Genome.stored)
        yield run_context(store, RunConfig(), population=decoding)


def values(context: RunContext) -> dict[str, float | None]:
    return {each.expert: each.value for each in context.store.emissions()}


def test_children_are_told_what_they_add_and_survival_is_not_asked(run: RunContext) -> None:
    tell(run, 1, ())
    assert values(run) == {"g1-0": 0.5, "g1-1": 1.0}
    [going] = courses(run)
    assert [value for _, value in going.told] == [0.5, 1.0]


def test_telling_again_changes_nothing(run: RunContext) -> None:
    tell(run, 1, ())
    run.store.set_skill("g1-0", "f1", True)
    tell(run, 1, ())
    assert values(run) == {"g1-0": 0.5, "g1-1": 1.0}


def test_gibberish_gains_nothing(run: RunContext) -> None:
    tell(run, 1, {"g1-1": "repeats itself"})
    assert values(run) == {"g1-0": 0.5, "g1-1": 0.0}


def test_an_emitter_ends_with_its_families_and_stays_over(run: RunContext) -> None:
    for name in ("f0", "f1"):
        run.store.set_family_status(name, "retired", "too easy")
    tell(run, 1, ())
    assert [each.ended for each in run.store.emitters()] == ["its families have left the pool"]
    assert courses(run) == []
    run.store.set_family_status("f0", "active", "back")
    tell(run, 2, ())
    assert courses(run) == []
