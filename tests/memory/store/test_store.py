"""Every record comes back as it was put, and putting it again changes nothing."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.errors import ConflictError, DamagedError, StoreError
from memory.records import (
    FINALS,
    Answer,
    ArchiveEntry,
    Assignment,
    Call,
    ChatMessage,
    Critique,
    Draft,
    Expert,
    Family,
    FoundingWave,
    GateReport,
    GibberishFound,
    Grade,
    Instance,
    Rejection,
    Skill,
    learning,
)
from memory.store import RunStore
from memory.store.journal import StoredSpan, insert_spans

MakeFamily = Callable[..., Family]
MakeExpert = Callable[..., Expert]
MakeAssignment = Callable[..., Assignment]
MakeCall = Callable[..., Call]
MakeAnswer = Callable[..., Answer]
MakeGrade = Callable[..., Grade]


def test_genomes_are_kept_by_content(store: RunStore) -> None:
    store.put_genome("b", b"\x00\xff")
    store.put_genome("b", b"\x00\xff")
    store.put_genome("a", b"")
    assert store._all("SELECT id FROM genomes ORDER BY id") == [("a",), ("b",)]
    assert store.genome("b") == b"\x00\xff"
    with pytest.raises(ConflictError, match="genome b"):
        store.put_genome("b", b"other")
    with pytest.raises(StoreError, match="genome c is not recorded"):
        store.genome("c")


def test_experts_come_back_by_generation_and_birth(
    store: RunStore, make_expert: MakeExpert
) -> None:
    young = make_expert("g2-0", generation=2)
    second, first = make_expert("g1-1", birth=1), make_expert("g1-0")
    for expert in (young, second, first, young):
        store.put_expert(expert)
    assert store.experts() == [first, second, young]
    assert store.experts(1) == [first, second]
    assert store.expert("g1-1") == second
    with pytest.raises(ConflictError, match="expert g1-1"):
        store.put_expert(make_expert("g1-1", birth=3))
    with pytest.raises(StoreError, match="no expert 'g9-9' in"):
        store.expert("g9-9")
    with pytest.raises(StoreError, match=r"no expert 'g1-4' in .*: born in .* 1 were g1-0, g1-1$"):
        store.expert("g1-4")


def test_families_keep_their_order_and_the_story_of_their_status(
    store: RunStore, make_family: MakeFamily
) -> None:
    late, early = make_family("g1-a00-z"), make_family("g0-a09-a")
    for family in (late, early, late):
        store.put_family(family)
    store.put_family(make_family("g1-a01-held"), status="held")
    assert [family.id for family in store.families()] == ["g1-a00-z", "g0-a09-a", "g1-a01-held"]
    with store.once("curation", 5):
        store.set_family_status(late.id, "retired", "impossible")
        store.set_family_status(late.id, "retired", "said twice")
    store.put_family(late)
    assert store.family_status(late.id) == "retired"
    assert store.families("active") == [early]
    events = store.family_events(late.id)
    assert [(event.status, event.reason, event.generation) for event in events] == [
        ("active", "accepted", None),
        ("retired", "impossible", 5),
    ]
    assert len(store.family_events()) == 4
    with pytest.raises(ConflictError, match=late.id):
        store.put_family(make_family(late.id, description="Another one."))
    with pytest.raises(StoreError, match="is not recorded"):
        store.set_family_status("none", "held", "")


def test_skill_vectors_tell_failed_from_missing(
    store: RunStore, make_family: MakeFamily, make_expert: MakeExpert
) -> None:
    for name in ("f1", "f2", "f3"):
        store.put_family(make_family(name))
    for name in ("g1-0", "g1-1"):
        store.put_expert(make_expert(name))
    store.set_skill("g1-0", "f2", True)
    store.set_skill("g1-0", "f1", True)
    store.set_skill("g1-0", "f1", False)
    assert store.skills("g1-0") == {"f1": False, "f2": True}
    assert store.skills("g1-1") == {}
    assert store.all_skills() == {"g1-0": {"f1": False, "f2": True}, "g1-1": {}}
    assert store.all_skills(["f2", "f3"]) == {"g1-0": {"f2": True}, "g1-1": {}}
    assert store.all_skills([]) == {"g1-0": {}, "g1-1": {}}


def test_skills_are_counts_and_read_as_verdicts(
    store: RunStore, make_family: MakeFamily, make_expert: MakeExpert
) -> None:
    for name in ("f1", "f2", "f3"):
        store.put_family(make_family(name))
    store.put_expert(make_expert("g1-0"))
    store.set_skill("g1-0", "f1", True)
    store.set_skill("g1-0", "f2", Skill(passes=2, asked=4))
    store.set_skill("g1-0", "f3", Skill(passes=0, asked=4))
    store.set_skill("g1-0", "f3", Skill(passes=3, asked=4))
    counts = {
        "f1": Skill(passes=1, asked=1),
        "f2": Skill(passes=2, asked=4),
        "f3": Skill(passes=3, asked=4),
    }
    assert store.skill_counts("g1-0") == counts
    assert store.all_skill_counts(["f2"]) == {"g1-0": {"f2": counts["f2"]}}
    assert store.skill_counts_of(["g1-0"], ["f2", "f4"]) == {"g1-0": {"f2": counts["f2"]}}
    assert store.skill_counts_of([], ["f2"]) == {}
    assert store.skills("g1-0") == {"f1": True, "f2": False, "f3": True}
    assert store.all_skills(["f3"]) == {"g1-0": {"f3": True}}


def test_skills_of_a_period_are_those_and_what_never_changes(
    store: RunStore, make_family: MakeFamily, make_expert: MakeExpert
) -> None:
    for name in ("f1", "f2"):
        store.put_family(make_family(name))
    for name in ("g1-0", "g1-1"):
        store.put_expert(make_expert(name))
    store.set_skill("g1-0", "f1", Skill(passes=1, asked=2), 3)
    store.set_skill("g1-0", "f1", Skill(passes=2, asked=2), 4)
    store.set_skill("g1-0", "f2", True)
    store.set_skill("g1-1", "f1", Skill(passes=2, asked=2), 4)
    assert store.skill_counts_of(["g1-1", "g1-0"], ["f1", "f2"], 3) == {
        "g1-1": {},
        "g1-0": {"f1": Skill(passes=1, asked=2), "f2": Skill(passes=1, asked=1)},
    }


def test_families_are_found_by_their_program_and_the_newest_by_name(
    store: RunStore, make_family: MakeFamily
) -> None:
    for name in ("f1", "f2", "f3"):
        store.put_family(make_family(name))
    families = store.families()
    same = [each for each in families if each.code_hash == families[0].code_hash]
    assert store.families_of_program(families[0].code_hash) == same
    assert store.families_of_program("no such hash") == []
    assert store.newest_names(2) == [each.name for each in families[1:]]
    assert store.newest_names(0) == []


def test_experts_are_read_in_the_order_in_which_they_are_named(
    store: RunStore, make_expert: MakeExpert
) -> None:
    made = {name: make_expert(name) for name in ("g1-0", "g1-1", "g1-2")}
    for expert in made.values():
        store.put_expert(expert)
    assert store.experts_named(["g1-2", "g1-0"]) == [made["g1-2"], made["g1-0"]]
    with pytest.raises(StoreError, match="g1-7"):
        store.experts_named(["g1-2", "g1-7"])


@pytest.mark.parametrize(("passes", "asked"), [(2, 1), (-1, 1), (0, 0), (0.5, 1)])
def test_counts_that_cannot_be_are_damage(
    store: RunStore, make_family: MakeFamily, make_expert: MakeExpert, passes: float, asked: int
) -> None:
    store.put_family(make_family("f1"))
    store.put_expert(make_expert("g1-0"))
    store.set_skill("g1-0", "f1", True)
    store._write("UPDATE skills SET passes = ?, asked = ?", (passes, asked))
    for read in (lambda: store.skills("g1-0"), store.all_skills, store.all_skill_counts):
        with pytest.raises(DamagedError, match="table skills, record g1-0 f1"):
            read()


def test_verdicts_of_an_older_run_are_counts_of_one(
    folder: Path, make_family: MakeFamily, make_expert: MakeExpert, store: RunStore
) -> None:
    for name in ("f1", "f2"):
        store.put_family(make_family(name))
    store.put_expert(make_expert("g1-0"))
    store.set_skill("g1-0", "f1", True)
    store.set_skill("g1-0", "f2", False)
    store.close()
    with sqlite3.connect(folder / "run.db") as old:
        old.executescript(
            "CREATE TABLE old AS SELECT expert, family, passes AS passed FROM skills;"
            "DROP TABLE skills; DROP TABLE instances; DROP TABLE finals;"
            "DROP TABLE emissions; DROP TABLE emitters;"
            "ALTER TABLE old RENAME TO skills; PRAGMA user_version = 2;"
        )
    counts = {"f1": Skill(passes=1, asked=1), "f2": Skill(passes=0, asked=1)}
    before = (folder / "run.db").read_bytes()
    with RunStore.open(folder, read_only=True) as reader:
        assert reader.skill_counts("g1-0") == counts
        assert reader.all_skills() == {"g1-0": {"f1": True, "f2": False}}
    assert (folder / "run.db").read_bytes() == before
    with RunStore.open(folder) as writer:
        assert writer.skill_counts("g1-0") == counts
        writer.set_skill("g1-0", "f2", Skill(passes=1, asked=4))
        assert writer.all_skill_counts()["g1-0"]["f2"] == Skill(passes=1, asked=4)


def test_archives_are_ordered_by_rank_and_replaced_whole(
    store: RunStore, make_expert: MakeExpert
) -> None:
    assert store.latest_archive() is None
    names = ["g1-0", "g1-1", "g1-2"]
    for name in names:
        store.put_expert(make_expert(name))
    entries = [
        ArchiveEntry(expert=name, rank=rank, fitness=0.1 + 0.2, novelty=999.0)
        for name, rank in zip(names, (2, 0, 1), strict=True)
    ]
    store.put_archive(1, entries)
    store.put_archive(2, entries)
    store.put_archive(2, entries[1:])
    assert store.archive(1) == [entries[1], entries[2], entries[0]]
    assert store.latest_archive() == (2, [entries[1], entries[2]])
    assert store.archive(7) == []


def test_an_assignment_moves_forward_only(
    store: RunStore, make_assignment: MakeAssignment, make_family: MakeFamily
) -> None:
    first, second, third = (make_assignment(1, index) for index in range(3))
    for assignment in (third, first, second, first):
        store.put_assignment(assignment)
    assert store.assignments(1) == [first, second, third]
    store.finish_assignment(first.id, "candidate")
    assert store.assignments(status="open") == [second, third]
    with store.transaction():
        store.finish_assignment(first.id, "accepted", family_id="f1")
        store.put_family(make_family("f1"))
    store.finish_assignment(first.id, "candidate")
    assert store.assignment_status(first.id) == ("accepted", None, "f1")
    rejection = Rejection(reason="duplicate", detail="like f1")
    with pytest.raises(ConflictError, match="is accepted, it cannot be rejected"):
        store.finish_assignment(first.id, "rejected", rejection)
    store.finish_assignment(second.id, "rejected", rejection)
    store.finish_assignment(third.id, "rejected", Rejection(reason="timeout"))
    assert store.assignment_status(second.id) == ("rejected", rejection, None)
    assert store.rejection_counts() == {"duplicate": 1, "timeout": 1}
    with pytest.raises(ValueError, match="with rejection None"):
        store.finish_assignment(second.id, "rejected")
    with pytest.raises(ConflictError):
        store.put_assignment(make_assignment(1, 0, kind="harder", parent="f1"))


def test_drafts_are_kept_round_by_round(store: RunStore, make_assignment: MakeAssignment) -> None:
    store.put_assignment(make_assignment())
    first = Draft(assignment="g1-a00", round=0, proposal=None)
    second = Draft(
        assignment="g1-a00",
        round=1,
        proposal={"name": "sum", "wrong_answers": {"1": ["2"]}},
        gates=GateReport(code="leaked", detail="instance 1"),
        critique=Critique(verdict="refine", problems=["too easy"]),
    )
    store.put_draft(second)
    store.put_draft(first)
    store.put_draft(Draft(assignment="g1-a00", round=1, proposal=None))
    store.put_draft(second)
    assert store.drafts("g1-a00") == [first, second]


def test_the_first_answer_and_the_first_grade_stay(
    store: RunStore, make_answer: MakeAnswer, make_grade: MakeGrade
) -> None:
    answer = make_answer("a1")
    store.put_answers([answer])
    store.put_answers([make_answer("a1", extracted="other")])
    store.put_answers([make_answer("a2"), make_answer("a3")])
    assert store.answers(["a3", "a1", "nope", "a1"]) == {"a3": make_answer("a3"), "a1": answer}
    other = make_answer("a0", instance_hash="other", sample=1)
    store.put_answers([other])
    assert store.answers_of("genome") == [answer, make_answer("a2"), make_answer("a3"), other]
    assert store.answers_of("nobody") == []
    assert store.answer_to("genome", "other") == other
    assert store.answer_to("genome", "never asked") is None
    grade = make_grade("q1", "a1")
    store.put_grades([grade, make_grade("q1", "a1", passed=False)])
    assert store.grades(["q1", "q2"]) == {"q1": grade}
    with pytest.raises(StoreError, match=r"q3.*FOREIGN KEY"):
        store.put_grades([make_grade("q2", "a2"), make_grade("q3", "no such answer")])
    assert store.grades(["q2"]) == {}


def test_the_right_answer_is_the_first_sample_that_its_grades_pass(
    store: RunStore, make_answer: MakeAnswer, make_grade: MakeGrade
) -> None:
    samples = [make_answer(f"a{number}", sample=number) for number in range(4)]
    store.put_answers(list(reversed(samples)))
    assert store.right_answer_to("genome", samples[0].instance_hash) is None, "none is graded"
    store.put_grades([make_grade("wrong", "a0", passed=False)])
    votes = [make_grade(f"vote{n}", "a1", passed=n == 0) for n in range(2)]
    store.put_grades([*votes, make_grade("right", "a2"), make_grade("later", "a3")])
    assert store.right_answer_to("genome", samples[0].instance_hash) == samples[2]
    assert store.right_answer_to("nobody", samples[0].instance_hash) is None


def test_thousands_of_answers_and_grades_are_found_again(
    store: RunStore, make_answer: MakeAnswer, make_grade: MakeGrade
) -> None:
    answers = [make_answer(f"a{index}") for index in range(4000)]
    grades = [make_grade(f"q{index}", f"a{index}") for index in range(4000)]
    store.put_answers(answers)
    store.put_grades(grades)
    assert len(store.answers(answer.key for answer in answers)) == 4000
    assert len(store.grades(grade.key for grade in grades)) == 4000


def test_messages_of_calls_are_stored_once(store: RunStore, make_call: MakeCall) -> None:
    first, second = make_call("one"), make_call("two", role="critic", assignment=None)
    for call in (first, second, first):
        store.put_call(call)
    assert store.call("one") == first
    assert store.call("none") is None
    assert store.calls() == [first, second]
    assert store.calls(role="critic") == [second]
    assert store.calls(assignment="g1-a00") == [first]
    assert store._one("SELECT COUNT(*) FROM messages") == (3,)


def test_a_success_replaces_a_failed_call_but_nothing_replaces_a_success(
    store: RunStore, make_call: MakeCall
) -> None:
    failed = make_call(response=None, error="503 from the endpoint", tokens_in=0, tokens_out=0)
    good = make_call(response="fine")
    store.put_call(failed)
    assert store.call_totals()["scientist"]["failed"] == 1
    store.put_call(good)
    store.put_call(failed)
    store.put_call(make_call(response="another"))
    assert store.call("call") == good
    store.count_cached("call")
    store.count_cached("call")
    store.put_call(good)
    assert store.call("call") == good.model_copy(update={"cached": 2})
    assert store.call_totals() == {
        "scientist": {
            "calls": 1,
            "attempts": 1,
            "tokens_in": 10,
            "tokens_out": 2,
            "cached": 2,
            "failed": 0,
        }
    }


def test_a_call_without_messages_is_found_too(store: RunStore, make_call: MakeCall) -> None:
    call = make_call(messages=())
    store.put_call(call)
    assert store.calls() == [call]


def test_meta_and_events(store: RunStore) -> None:
    assert store.meta("a fact") is None
    store.put_meta("a fact", {"coverage": [1, None]})
    store.put_meta("a fact", {"coverage": [2, None]})
    assert store.meta("a fact") == {"coverage": [2, None]}
    with store.once("selection", 4):
        store.add_event(FoundingWave(wave=0, assignments=4))
    store.add_event(GibberishFound(expert="g1-0", reason="loops"))
    assert [(event.payload, event.generation) for event in store.events()] == [
        ({"wave": 0, "assignments": 4}, 4),
        ({"expert": "g1-0", "reason": "loops"}, None),
    ]
    assert [event.kind for event in store.events("gibberish")] == ["gibberish"]
    assert store.run_id() == store.run_id()


def test_phases_are_summed_by_name_and_over_resumed_runs(folder: Path) -> None:
    def phase(id_: str, name: str, start: int, end: int, kind: str = "phase") -> StoredSpan:
        return StoredSpan(id=id_, trace="t", kind=kind, name=name, started_ns=start, ended_ns=end)

    with RunStore.open(folder) as store:
        insert_spans(store._connection, [phase("1", "judge", 2 * 10**9, 5 * 10**9)])
        insert_spans(store._connection, [phase("2", "draft", 10**9, 4 * 10**9)])
        insert_spans(store._connection, [phase("3", "propose", 0, 9 * 10**9, kind="llm")])
    with RunStore.open(folder) as store:
        insert_spans(store._connection, [phase("4", "judge", 7 * 10**9, 75 * 10**8)])
        insert_spans(store._connection, [phase("4", "judge", 7 * 10**9, 75 * 10**8)])
        assert store.phase_seconds() == {"draft": 3.0, "judge": 3.5}
        assert list(store.phase_seconds()) == ["draft", "judge"]
        assert [span.id for span in store.spans("phase", "judge")] == ["1", "4"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(st.characters(exclude_categories=())), seconds=st.floats())
def test_whatever_a_model_says_comes_back_unchanged(
    store: RunStore, make_call: MakeCall, content: str, seconds: float
) -> None:
    said = ChatMessage(role="assistant", content=content)
    call = make_call(f"{content!r}{seconds}", messages=(said,), response=content, seconds=seconds)
    store.put_call(call)
    found = store.call(call.key)
    assert found is not None
    assert found.messages == (said,)
    assert found.response == content
    assert found.seconds == seconds or (math.isnan(found.seconds) and math.isnan(seconds))


def test_what_was_learnt_is_found_of_all_families_and_nothing_else(
    store: RunStore, make_family: Callable[..., Family]
) -> None:
    families = make_family("one"), make_family("another", code="class Other: ...")
    for each in families:
        store.put_family(each)
        for period in (0, 1, FINALS, learning(0), learning(7)):
            store.put_instances(
                [
                    Instance(
                        family=each.id,
                        period=period,
                        name="1@1.1",
                        instructions=f"{each.id} in {period}?",
                        reference="1",
                    )
                ]
            )
    found = {(each.family, each.period) for each in store.learnt_instances()}
    assert found == {(f.id, learning(n)) for f in families for n in (0, 7)}
    assert store.count("families") == 2
    assert store.count("experts") == 0
