"""Admission in assignment order, the memory of failures, and parents that come back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import RunConfig
from agents.context import RunContext
from agents.errors import ContextLengthError, EndpointError, JudgingError
from agents.families.lifecycle import move
from agents.pool.admission import admit
from agents.pool.assignments import open_founding_wave, report_finished, require_families
from agents.pool.curation import assign_ahead, curate
from agents.progress import DraftProgress, ProgressEvent
from agents.settings import (
    PoolSettings,
)
from memory.novelty.embedding import Vectors, unit_rows
from memory.novelty.memory import NoveltyMemory
from memory.records import (
    ArchiveEntry,
    Assignment,
    AssignmentKind,
    Draft,
    Expert,
    GateReport,
    Rejection,
    RejectionReason,
)
from memory.settings import NoveltySettings
from memory.store import RunStore
from prompts import worked_example
from tests.agents.cases import ScriptedChat, family, run_context

NEW = {"decision": "new", "reason": "another skill"}
KNOWN = {"decision": "known", "reason": "only numbers differ"}


class Words:
    """Hashed bags of words."""

    name = "words"

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return unit_rows(rows, self.name)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    with RunStore.open(tmp_path) as store, NoveltyMemory.open(tmp_path, Words()) as memory:
        config = RunConfig(
            pool=PoolSettings(capacity=4, adaptations=3, lately_rejected=2),
            novelty=NoveltySettings(duplicate_similarity=0.97, similar_similarity=0.5),
        )
        chat = ScriptedChat(store, {"critic": []})
        yield run_context(store, config, novelty=memory, chat=chat)


def candidate(
    run: RunContext, index: int, kind: AssignmentKind = "novel", parent: str | None = None,
    **changes: Any,
) -> Assignment:  # fmt: skip
    """An assignment whose draft found acceptance."""
    name = f"g1-a{index:02d}"
    assignment = Assignment(
        id=name, generation=1, index=index, kind=kind, parent=parent, rng_seed=index
    )
    run.store.put_assignment(assignment)
    drawn = {key: changes.pop(key) for key in ("levels", "level", "seed") if key in changes}
    second = changes.pop("second", "How many then?")
    gates = GateReport(code=None, instructions={"1": "How many?", "2": second}, **drawn)
    proposal = worked_example() | changes
    run.store.put_draft(Draft(assignment=name, round=0, proposal=proposal, gates=gates))
    run.store.finish_assignment(name, "candidate")
    return assignment


def said(run: RunContext, *replies: Any, up: bool = True) -> ScriptedChat:
    """Let the critic say this when it is asked about novelty."""
    chat = ScriptedChat(run.store, {"critic": list(replies)}, up=up)
    run.chat = chat
    return chat


def outcome(run: RunContext, index: int) -> str:
    status, rejection, _ = run.store.assignment_status(f"g1-a{index:02d}")
    return rejection.reason if rejection else status


async def test_of_two_alike_the_earlier_assignment_is_admitted(run: RunContext) -> None:
    candidate(run, 1)
    candidate(run, 0)
    await admit(run, 1)
    assert [outcome(run, n) for n in (0, 1)] == ["accepted", "duplicate"]
    assert [f.id for f in run.store.families()] == ["g1-a00-passengers-on-a-bus"]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("harder", "accepted"), ("easier", "accepted"), ("related", "duplicate")],
)
async def test_only_a_harder_or_easier_child_may_resemble_its_parent(
    run: RunContext, kind: AssignmentKind, wanted: str
) -> None:
    candidate(run, 0)
    await admit(run, 1)
    (parent,) = run.store.families()
    candidate(run, 1, kind, parent.id, second="How many in the end?")
    await admit(run, 1)
    assert outcome(run, 1) == wanted


@pytest.mark.parametrize(
    ("kind", "level", "wanted"),
    [("harder", 3, "accepted"), ("harder", 2, "duplicate"), ("novel", 3, "duplicate")],
)
async def test_one_program_enters_once_at_a_level_and_at_others_as_a_childs(
    run: RunContext, kind: AssignmentKind, level: int, wanted: str
) -> None:
    candidate(run, 0, levels=4, level=2, seed=1)
    candidate(run, 1, "harder", None, levels=4, level=1, seed=2, second="How many in all?")
    await admit(run, 1)
    parent = run.store.families()[0].id
    candidate(run, 2, kind, parent if kind != "novel" else None, levels=4, level=level, seed=3,
        second="How many at last?")  # fmt: skip
    await admit(run, 1)
    assert outcome(run, 2) == wanted


@pytest.mark.parametrize(
    ("reply", "wanted"), [(NEW, "accepted"), (KNOWN, "not_novel"), ("hm", "not_novel")]
)
async def test_in_the_grey_zone_the_critic_is_asked(
    run: RunContext, reply: Any, wanted: str
) -> None:
    candidate(run, 0)
    candidate(run, 1, description="A bus calls at stops; the fare that was paid is asked.")
    chat = said(run, reply)
    await admit(run, 1)
    assert outcome(run, 1) == wanted
    assert len(chat.asked) == 1


async def test_in_the_grey_zone_a_dead_critic_ends_the_run_and_nothing_is_decided(
    run: RunContext,
) -> None:
    candidate(run, 0)
    candidate(run, 1, description="A bus calls at stops; the fare that was paid is asked.")
    said(run, EndpointError("critic", "http://nowhere", "m", "HTTP 500", "start it"), up=False)
    with pytest.raises(EndpointError):
        await admit(run, 1)
    assert [outcome(run, n) for n in (0, 1)] == ["accepted", "candidate"]
    said(run, NEW)
    await admit(run, 1)
    assert outcome(run, 1) == "accepted"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EndpointError("critic", "http://nowhere", "m", "HTTP 500", "start it"), "endpoint"),
        (ContextLengthError("critic", "http://nowhere", "m", "too long"), "context_length"),
    ],
)
async def test_a_novelty_check_that_cannot_be_answered_fails_that_assignment_only(
    run: RunContext, error: Exception, reason: str
) -> None:
    candidate(run, 0)
    candidate(run, 1, description="A bus calls at stops; the fare that was paid is asked.")
    said(run, error)
    await admit(run, 1)
    assert outcome(run, 1) == reason


async def test_a_parent_returns_when_its_harder_child_is_rejected(run: RunContext) -> None:
    candidate(run, 0)
    await admit(run, 1)
    (parent,) = run.store.families()
    run.store.set_family_status(parent.id, "held", "a harder child is tried")
    candidate(run, 1, "harder", parent.id)
    await admit(run, 1)
    assert outcome(run, 1) == "duplicate"
    assert run.store.family_status(parent.id) == "active"
    await admit(run, 1)
    assert run.store.family_status(parent.id) == "active", "a replay changes nothing"


def test_an_empty_founding_pool_is_an_error_and_the_next_sitting_tries_again(
    run: RunContext,
) -> None:
    run.config = RunConfig(pool=PoolSettings(capacity=4, founding_waves=1))
    for _ in range(2):
        require_families(run)
        open_founding_wave(run)
        for assignment in run.store.assignments(0, "open"):
            run.store.finish_assignment(assignment.id, "rejected", Rejection(reason="leaked"))
        with pytest.raises(JudgingError, match=r"waves \(leaked"):
            require_families(run)
    run.store.put_family(family(0))
    require_families(run)


def test_scientists_are_told_what_was_lately_rejected_and_why(run: RunContext) -> None:
    reasons: tuple[RejectionReason, ...] = ("leaked", "duplicate", "echo_passes")
    for index, reason in enumerate(reasons):
        candidate(run, index, name=f"Family {index}")
        run.store.finish_assignment(
            f"g1-a{index:02d}", "rejected", Rejection(reason=reason, detail=f"for {index}")
        )
    open_founding_wave(run)
    told = {assignment.lately_rejected for assignment in run.store.assignments(0)}
    assert told == {("Family 2: echo_passes (for 2)", "Family 1: duplicate (for 1)")}


def test_curation_is_one_decision_that_a_replay_does_not_repeat(run: RunContext) -> None:
    for number in range(4):
        run.store.put_family(family(number))
    curate(run, 2)
    written = run.store.assignments(2)
    assert [assignment.kind for assignment in written] == ["novel"] * 3, "nothing is graded yet"
    curate(run, 2)
    assert run.store.assignments(2) == written


async def test_parents_of_what_was_drafted_ahead_grade_until_the_pool_adapts(
    run: RunContext,
) -> None:
    settings = PoolSettings(capacity=4, adaptations=2, rescue=0.0, draft_ahead=True)
    run.config = RunConfig(pool=settings)
    for number in range(3):
        run.store.put_family(family(number))
    put_archive(run, 1, "110")
    assign_ahead(run, 2)
    written = run.store.assignments(2)
    assert [each.kind for each in written] == ["harder", "harder"]
    assert all(each.panel == ("e1",) for each in written)
    assert len(run.store.families("active")) == 3, "neither held nor retired yet"
    put_archive(run, 2, "110")
    run.store.finish_assignment(written[0].id, "candidate")
    run.store.finish_assignment(written[1].id, "rejected", Rejection(reason="leaked"))
    assign_ahead(run, 2)
    curate(run, 2)
    assert run.store.assignments(2) == written
    statuses = {each.id: run.store.family_status(each.id) for each in run.store.families()}
    assert statuses[str(written[0].parent)] == "held"
    assert statuses[str(written[1].parent)] == "active", "its draft was rejected"
    assert statuses["f2"] == "retired", "nobody passes it"


def put_archive(run: RunContext, generation: int, passes: str) -> None:
    """An archive of one expert, who passes these families."""
    name = f"e{generation}"
    run.store.put_genome(name, name.encode())
    run.store.put_expert(
        Expert(id=name, genome_id=name, generation=generation, birth=0, operator="slerp")
    )
    for number, passed in enumerate(passes):
        run.store.set_skill(name, f"f{number}", passed == "1")
    run.store.put_archive(generation, [ArchiveEntry(expert=name, rank=0, fitness=1, novelty=1)])


async def test_a_program_that_was_condemned_is_not_tried_again_at_its_level(
    run: RunContext,
) -> None:
    drawn: dict[str, Any] = {"levels": 2, "level": 1, "seed": 1}
    candidate(run, 0, **drawn)
    await admit(run, 1)
    (flawed,) = run.store.families()
    move(run.store, flawed, "condemned", detail="timeout")
    candidate(run, 1, **drawn, second="How many in the end?")
    await admit(run, 1)
    assert outcome(run, 1) == "duplicate"


def test_each_finished_draft_moves_the_bar(run: RunContext) -> None:
    told: list[ProgressEvent] = []
    run.drafts = DraftProgress(told.append)
    open_founding_wave(run)
    waiting = run.store.assignments(0, "open")
    total = len(waiting)
    for assignment in waiting[:2]:
        run.store.finish_assignment(
            assignment.id, "rejected", Rejection(reason="critic_reject", detail="too easy")
        )
        report_finished(run, assignment.id)
    assert [(event.kind, event.done, event.total) for event in told] == [
        ("step", 1, total),
        ("step", 2, total),
    ]
    assert told[0].text == f"draft: {waiting[0].id} rejected, critic_reject"
