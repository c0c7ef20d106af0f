"""What `acdc trace` collects from a run store, without a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.commands import trace
from console.display import Terminal
from console.errors import UsageError
from console.run.folder import RunFolder
from console.stories.telling import numbered
from evolution.genome.genome import Genome
from memory.records import (
    Assignment,
    Call,
    ChatMessage,
    Critique,
    Draft,
    Expert,
    GateReport,
    Json,
    LevelRate,
    MissingGrade,
    Rejection,
    Skill,
)
from memory.store import RunStore
from tests.agents.cases import family, generative
from tests.console.conftest import Acdc, the_line

GENOME = Genome(np.array([[0.25, 0.76]], np.float32)).to_bytes()


def _folder(tmp_path: Path, fill: Callable[[RunStore], object]) -> RunFolder:
    (tmp_path / "config.json").write_text(json.dumps({"config": {}}))
    with RunStore.open(tmp_path) as store:
        fill(store)
    return RunFolder(tmp_path)


def _call(role: str, assignment: str | None) -> Call:
    return Call.model_validate(
        {
            "key": f"{role}-{assignment}",
            "role": role,
            "purpose": "gibberish",
            "model": "m",
            "endpoint": "http://localhost/v1",
            "assignment": assignment,
            "round": 0,
            "messages": (ChatMessage(role="user", content="Is this babble?"),),
            "response": "no",
        }
    )


def _shown(found: trace.Trace, brief: bool = False, **options: Any) -> str:
    console = Terminal(file=io.StringIO(), width=120)
    trace.show(found, console, brief, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_calls_outside_of_assignments_are_shown_under_their_role(tmp_path: Path) -> None:
    folder = _folder(tmp_path, lambda store: store.put_call(_call("rater", None)))
    found = trace.collect(folder, role="rater")
    assert [call["purpose"] for call in found["calls"]] == ["gibberish"]
    assert "Is this babble?" in _shown(found)
    assert _shown(trace.collect(folder, role="critic")).strip() == "nothing matches"


def test_the_calls_of_a_role_stand_in_a_line_each_with_what_came_of_them(
    acdc: Acdc, tmp_path: Path
) -> None:
    def fill(store: RunStore) -> None:
        store.put_family(family(0))
        for index, kind in enumerate(("novel", "novel", "harder")):
            name, parent = f"g0-a{index}", "f0" if kind == "harder" else None
            asked = {"id": name, "generation": 0, "index": index, "kind": kind, "rng_seed": 1}
            store.put_assignment(Assignment.model_validate({**asked, "parent": parent}))
            code = family(0).code if parent else "class TaskFamily: ..."
            hard = GateReport(code="too_hard", detail="2 of 12")
            gates = hard if index == 1 else GateReport(code=None, detail="")
            draft = Draft(
                assignment=name, round=0, proposal={"name": f"Sums {index}", "code": code}
            )
            store.put_draft(draft.model_copy(update={"gates": gates}))
        for name in ("g0-a0", "g0-a1"):
            said = {"purpose": "propose", "tokens_in": 70, "tokens_out": 9, "seconds": 1.5}
            store.put_call(_call("scientist", name).model_copy(update=said))
        failed = {"key": "f", "purpose": "propose", "response": None, "error": "no answer"}
        store.put_call(_call("scientist", "g0-a1").model_copy(update=failed))

    folder = _folder(tmp_path, fill)
    lines = acdc("trace", folder.path, "--role", "scientist").stdout.splitlines()
    used = "m  70 in, 9 out  1.5 s"
    assert lines == [
        f"✓ g0-a0  propose, round 0  {used}  Sums 0: gates passed",
        f"✗ g0-a1  propose, round 0  {used}  Sums 1: too_hard (the experts cannot do it): 2 of 12",
        "✗ g0-a1  propose, round 0  m  0 in, 0 out  0.0 s  failed: no answer",
        "",
        "3 calls in 2 assignments, with tokens and seconds; prompts and replies: --full",
        "1 more assignment without a call of the scientist: in 1 the parent's own program was "
        "tried at another level",
    ]
    whole = acdc("trace", folder.path, "--role", "scientist", "--full").stdout
    assert "Is this babble?" in whole
    paged = acdc("trace", folder.path, "--role", "scientist", "--limit", "1").stdout
    assert "calls 1 to 1 of 3; more: --offset 1" in paged


def test_rejections_are_listed_a_line_each_with_their_reason(tmp_path: Path) -> None:
    def fill(store: RunStore) -> None:
        for index, rejection in enumerate(
            [
                Rejection(reason="duplicate", detail="similarity 0.99\nto Sums"),
                Rejection(reason="critic_reject"),
            ]
        ):
            assignment = Assignment(
                id=f"g0-a{index}", generation=0, index=index, kind="novel", rng_seed=index
            )
            store.put_assignment(assignment)
            critique = Critique(verdict="reject", problems=["It can be guessed."])
            proposal: dict[str, Json] = {"name": f"Family {index}", "code": "class TaskFamily: ..."}
            store.put_draft(
                Draft(assignment=assignment.id, round=0, proposal=proposal, critique=critique)
            )
            store.finish_assignment(assignment.id, "rejected", rejection)

    found = trace.collect(_folder(tmp_path, fill), rejected=True)
    listed = _shown(found, brief=True).splitlines()
    assert listed[:2] == [
        "✗ g0-a0  Family 0  duplicate (the same as another family): similarity 0.99 to Sums",
        "✗ g0-a1  Family 1  critic_reject (the critic rejected it): It can be guessed.",
    ]
    assert "class TaskFamily" not in _shown(found, brief=True)
    assert "class TaskFamily" not in _shown(found)
    assert "class TaskFamily" in _shown(found, full=True)


def test_an_expert_that_could_not_be_graded_says_why(tmp_path: Path) -> None:
    def fill(store: RunStore) -> None:
        store.put_genome("0" * 32, GENOME)
        store.put_expert(
            Expert(id="g1-0", genome_id="0" * 32, generation=1, birth=0, operator="linear")
        )
        for expert in ("g1-0", "g1-1"):
            reason = "the sandbox did not start"
            store.add_event(MissingGrade(expert=expert, family="g0-a01", reason=reason))

    found = trace.collect(_folder(tmp_path, fill), expert="g1-0")
    assert [gap["family"] for gap in found["experts"][0]["missing"]] == ["g0-a01"]
    assert "not graded on g0-a01: the sandbox did not start" in _shown(found)


def test_what_models_wrote_cannot_move_the_cursor(tmp_path: Path) -> None:
    said = "one\x1b[2J\x1b]0;title\x07\ttwo\nthree \x9b31m [bold]four[/bold]"
    call = _call("rater", None).model_copy(update={"response": said})
    folder = _folder(tmp_path, lambda store: store.put_call(call))
    shown = _shown(trace.collect(folder, role="rater"))
    assert "one\\x1b[2J\\x1b]0;title\\x07" in shown
    assert "three \\x9b31m [bold]four[/bold]" in shown
    assert "\x1b" not in shown


def test_a_merge_is_shown_with_its_parents_and_anchors(tmp_path: Path) -> None:
    def fill(store: RunStore) -> None:
        store.put_genome("0" * 32, GENOME)
        store.put_expert(
            Expert(
                id="regmean",
                genome_id="0" * 32,
                generation=0,
                birth=4,
                operator="regmean",
                parents=("numbers", "words"),
                parameters={
                    "regmean": {"anchors": ["regmean-g0.numbers", "regmean-g0.words"], "scale": 1.2}
                },
            )
        )

    text = _shown(trace.collect(_folder(tmp_path, fill), expert="regmean"))
    assert "regmean · regmean" in text
    assert "parents: numbers, words\n" in text
    assert "regmean: scale 1.2\n" in text, "its anchors are told in what it is made of"


def test_a_family_is_told_in_short_before_its_conversation_also_one_that_was_given(
    tmp_path: Path,
) -> None:
    curve = (LevelRate(level=2, asked=12, passed=9), LevelRate(level=3, asked=12, passed=5))

    def fill(store: RunStore) -> None:
        written = generative(0).model_copy(update={"curve": curve, "revisions": 2})
        for each in (written, family(1).model_copy(update={"id": "given-own"})):
            store.put_family(each)
        assigned = Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=0)
        store.put_assignment(assigned)
        store.finish_assignment("g0-a00", "accepted", family_id="f0")
        store.put_genome("0" * 32, GENOME)
        store.put_expert(
            Expert(id="words", genome_id="0" * 32, generation=0, birth=0, operator="seed")
        )
        store.set_skill("words", "f0", Skill(passes=3, asked=4), 0)

    folder = _folder(tmp_path, fill)
    shown = _shown(trace.collect(folder, family="f0"))
    assert "asks at level 3 of 5, after 2 revisions" in shown
    assert "right in the trial: 9 of 12 at level 2, 5 of 12 at level 3" in shown
    assert "passes lately: words 3 of 4" in shown
    found = trace.collect(folder, family="given-own")
    assert (found["assignments"], len(found["families"])) == ([], 1)
    assert "now active (accepted)" in _shown(found)
    with pytest.raises(UsageError, match="no family or assignment 'given-other'"):
        trace.collect(folder, family="given-other")


def test_a_draft_that_passed_its_gates_says_so_and_counts_are_in_words(tmp_path: Path) -> None:
    def fill(store: RunStore) -> None:
        asked = Assignment(id="g0-a0", generation=0, index=0, kind="novel", rng_seed=1)
        store.put_assignment(asked)
        passed = GateReport(code=None, detail="")
        proposal: dict[str, Json] = {"name": "Sums", "code": "class TaskFamily: ..."}
        store.put_draft(Draft(assignment="g0-a0", round=0, proposal=proposal, gates=passed))
        store.put_family(family(0).model_copy(update={"revisions": 1}))
        store.finish_assignment("g0-a0", "accepted", family_id="f0")

    said = _shown(trace.collect(_folder(tmp_path, fill)), full=True)
    assert "✓ all gates passed\n" in said
    assert "after 1 revision\n" in said


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"answer": "0f9a", "expert": "g2-1"}, "--answer cannot be combined with --expert"),
        ({"answer": "0f9a", "rejected": True}, "--answer cannot be combined with --rejected"),
        ({"expert": "g2-1", "role": "critic"}, "--expert cannot be combined with --role"),
    ],
)
def test_what_shows_something_else_is_not_combined(
    tmp_path: Path, options: dict[str, Any], refused: str
) -> None:
    folder = _folder(tmp_path, lambda store: None)
    with pytest.raises(UsageError, match=f"^{refused}$"):
        trace.collect(folder, **options)


@pytest.mark.parametrize(
    "option", [["--family", "nope"], ["--expert", "nope"], ["--answer", "zz"], ["--role", "nope"]]
)
def test_the_table_of_families_takes_no_choice_of_one(
    acdc: Acdc, tmp_path: Path, option: list[str]
) -> None:
    folder = _folder(tmp_path, lambda store: None)
    done = acdc("trace", folder.path, "--families", *option, code=2)
    assert f"--families cannot be combined with {option[0]}" in the_line(done.stderr)


def test_the_last_page_of_a_list_announces_no_other() -> None:
    assert numbered([1], 32, 31, "families") == "families 32 to 32 of 32"
    assert "more: --offset 31" in str(numbered([1], 32, 30, "families"))
