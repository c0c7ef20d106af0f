"""What assignments say: fields that the pool lacks, weak spots, late rejections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.config import RunConfig
from agents.context import RunContext
from agents.pool.assignments import _write_assignments, open_founding_wave
from agents.pool.fields import FIELDS, lacking_fields
from agents.settings import PoolSettings
from memory.records import ArchiveEntry, Audience, Expert, Rejection
from memory.store import RunStore
from tests.agents.cases import family, run_context

AUDIENCE = Audience(parameters=1000, experts=8, max_tokens=24)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    with RunStore.open(tmp_path) as store:
        yield run_context(store, RunConfig(pool=PoolSettings(capacity=40)))


def test_twenty_four_fields_are_distinct() -> None:
    assert len(set(FIELDS)) == len(FIELDS) == 24


def test_the_rarest_fields_come_first_and_ties_in_the_given_order() -> None:
    order = list(range(len(FIELDS)))[::-1]
    assert lacking_fields([], 2, order) == [FIELDS[-1], FIELDS[-2]]
    present = [*FIELDS, *FIELDS[1:], "", "no such field"]
    assert lacking_fields(present, 2, order) == [FIELDS[0], FIELDS[-1]]


def test_the_first_assignments_have_different_fields_and_tell_who_answers(run: RunContext) -> None:
    open_founding_wave(run, AUDIENCE)
    written = run.store.assignments(0)
    assert len(written) > len(FIELDS)
    assert len({assignment.field for assignment in written[:24]}) == 24
    assert [assignment.field for assignment in written[:24]] != list(FIELDS), "in seeded order"
    assert {assignment.audience for assignment in written} == {AUDIENCE}


def test_novel_families_go_where_the_pool_has_none_and_others_inherit(run: RunContext) -> None:
    for number, field in enumerate(FIELDS[2:]):
        run.store.put_family(family(number).model_copy(update={"field": field}))
    _write_assignments(run, 2, [("novel", "f0"), ("related", "f0"), ("easier", "f1")])
    _write_assignments(run, 3, [("novel", None), ("harder", "f2")])
    fields = [[a.field for a in run.store.assignments(generation)] for generation in (2, 3)]
    assert {fields[0][0], fields[1][0]} == set(FIELDS[:2]), "the open assignment counts"
    assert fields[0][1:] == [FIELDS[2], FIELDS[3]]
    assert fields[1][1] == FIELDS[4]


def test_weak_spots_are_what_about_half_can_do(run: RunContext) -> None:
    store = run.store
    passes = {"nobody": 0, "one": 1, "half": 2, "most": 3, "all": 4}
    for number, capability in enumerate(passes):
        store.put_family(family(number).model_copy(update={"capability": capability}))
    for birth in range(4):
        name = f"e{birth}"
        store.put_genome(name, name.encode())
        store.put_expert(
            Expert(id=name, genome_id=name, generation=0, birth=birth, operator="seed")
        )
        for number, count in enumerate(passes.values()):
            store.set_skill(name, f"f{number}", birth < count)
    entries = [
        ArchiveEntry(expert=f"e{birth}", rank=birth, fitness=0.5, novelty=1.0) for birth in range(4)
    ]
    store.put_archive(0, entries)
    _write_assignments(run, 2, [("novel", None)])
    (written,) = store.assignments(2)
    assert written.weak_spots == ("half", "one", "most")


def test_a_late_rejection_keeps_its_field_and_its_end(run: RunContext) -> None:
    _write_assignments(run, 1, [("novel", None)])
    (rejected,) = run.store.assignments(1)
    detail = f"It was {'very ' * 200}long, and no more of the models pass it than the parent."
    why = Rejection(reason="critic_reject", detail=detail)
    run.store.finish_assignment(rejected.id, "rejected", why)
    _write_assignments(run, 2, [("novel", None)])
    ((line,),) = [assignment.lately_rejected for assignment in run.store.assignments(2)]
    assert line.startswith(f"unreadable proposal [{rejected.field}]: critic_reject (It was very")
    assert line.endswith("and no more of the models pass it than the parent.)")
    assert len(line) < 400
