"""The stories of a real run: of a family by name, an expert, an answer, and who solves what."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from agents.families.items import item_of
from console.commands import trace
from console.display import Terminal
from console.errors import UsageError
from console.run.folder import RunFolder
from console.stories.anchors import anchor_in_words, anchors_explained
from console.stories.answers import read_answers, tell_answers
from console.stories.assignment import read_assignment, tell_assignment
from console.stories.expert import listed, standing, standing_in_words
from console.stories.families import read_families, summary_lines, tell_families
from console.stories.names import family_meant, labels
from memory.errors import StoreError
from memory.records import (
    FINALS,
    Answer,
    ArchiveEntry,
    Assignment,
    Draft,
    Expert,
    Graft,
    Instance,
    Rejection,
    Reply,
    Skill,
)
from memory.store import RunStore
from tests.agents.cases import family
from tests.console.conftest import Acdc


def _told(found: trace.Trace, width: int = 80, **options: Any) -> str:
    out = io.StringIO()
    trace.show(found, Terminal(file=out, width=width), **options)
    return out.getvalue()


def test_a_family_is_found_by_its_name_and_told_in_short(acdc: Acdc, finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        wanted = store.families()[0]
    said = acdc("trace", finished_run, "--family", wanted.name.upper()).stdout
    assert wanted.example_instruction in said
    assert "critic: accept" in said
    assert "passes lately: " in said
    assert "most like it" in said
    assert "class TaskFamily" not in said
    whole = acdc("trace", finished_run, "--family", wanted.id, "--full").stdout
    assert "class TaskFamily" in whole
    assert "scientist · propose" in whole


def test_a_trial_shows_each_question_with_a_right_answer_and_what_was_said(
    finished_run: Path,
) -> None:
    found = trace.collect(RunFolder(finished_run))
    told = next(each for each in found["assignments"] if each["rounds"][-1]["answers"])
    answers = told["rounds"][-1]["answers"]
    questions = list(dict.fromkeys(each["question"] for each in answers))
    said = " ".join(_told({**found, "assignments": [told]}, width=1000).split())
    for question in questions[:2]:
        assert f"level {answers[0]['level']}: {' '.join(question.split())}"[:80] in said
    if len(questions) > 2:
        assert f"and {len(questions) - 2} more questions" in said
    assert f"a right answer: {answers[0]['reference']}"[:40] in said
    whole = " ".join(_told({**found, "assignments": [told]}, width=1000, full=True).split())
    for each in answers:
        assert " ".join(each["question"].split()) in whole
        mark = {True: "✓", False: "✗", None: "·"}[each["passed"]]
        assert f"{mark} {each['expert']}: " in whole


def test_a_family_of_another_field_and_a_parents_own_program_are_told(
    tmp_path: Path,
) -> None:
    parent = family(0)
    asked = Assignment(
        id="g1-a00",
        generation=1,
        index=0,
        kind="harder",
        rng_seed=1,
        field="word meaning",
        parent=parent.id,
    )
    with RunStore.open(tmp_path) as store:
        store.put_family(parent)
        store.put_assignment(asked)
        store.put_draft(
            Draft(assignment=asked.id, round=0, proposal={"name": "x", "code": parent.code})
        )
        child = family(1).model_copy(update={"field": "letters", "scientist": "offline"})
        store.put_family(child)
        store.finish_assignment(asked.id, "accepted", family_id=child.id)
        story = read_assignment(store, asked, None)
    out = io.StringIO()
    tell_assignment(story, {}, Terminal(file=out, width=1000))
    assert "the parent's own program at another level: no model was asked" in out.getvalue()
    assert "a family of the field 'letters': the offline scientist follows" in out.getvalue()


def test_equal_names_are_told_apart_and_refused_where_one_is_meant(tmp_path: Path) -> None:
    twins = [family(n).model_copy(update={"name": "Sums"}) for n in range(2)]
    alone = family(2).model_copy(update={"name": "Rivers and lakes"})
    assert labels([*twins, alone]) == {
        "f0": "Sums (f0)",
        "f1": "Sums (f1)",
        "f2": "Rivers and lakes",
    }
    with RunStore.open(tmp_path) as store:
        for each in (*twins, alone):
            store.put_family(each)
        assert family_meant(store, "lakes") == "f2"
        assert family_meant(store, "f1") == "f1"
        with pytest.raises(UsageError, match="may be any of f0, f1"):
            family_meant(store, "sums")
        with pytest.raises(UsageError, match="did you mean Rivers and lakes"):
            family_meant(store, "Rivers and lacks")


def test_who_solves_what_agrees_with_the_grades(finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        found = read_families(store)
        assert {row["family"] for row in found["rows"]} == {each.id for each in store.families()}
        for row in found["rows"]:
            for name, (passes, asked) in row["passes"].items():
                skill = store.skill_counts(name)[row["family"]]
                assert (skill.passes, skill.asked) == (passes, asked)
                assert (name in row["solved_by"]) == skill.passed
    rates = [row["rate"] for row in found["rows"] if row["state"] == "active" and row["passes"]]
    assert rates == sorted(rates)
    out = io.StringIO()
    tell_families(found, Terminal(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80 or "nobody" in out.getvalue()
    assert "the hardest active family: " in out.getvalue()


def test_sole_solvers_and_what_nobody_solves_are_counted() -> None:
    def row(name: str, *solved_by: str, state: str = "active") -> dict[str, Any]:
        passes = {who: [4 * (who in solved_by), 4] for who in ("a", "b")}
        rate = len(solved_by) / 2
        told = {"name": name, "state": state, "passes": passes, "rate": rate}
        return {**told, "solved_by": list(solved_by)}

    rows = [row("hard"), row("one", "a"), row("two", "a"), row("both", "a", "b")]
    assert summary_lines([*rows, row("old", state="retired")]) == [
        "1 of 4 active families are solved by nobody",
        "the hardest active family: hard, passed 0% of the time",
        "solve an active family as the only one of archive and seeds: a of 2",
    ]


def test_an_expert_tells_its_recipe_fitness_and_answers(acdc: Acdc, finished_run: Path) -> None:
    status = acdc.json("status", finished_run)
    bred = next(row for row in status["archive"] if row["operator"] not in ("seed", "base"))
    found = acdc.json("trace", finished_run, "--expert", bred["expert"])["experts"][0]
    assert found["archive"]["fitness"] == bred["fitness"], "as `status` has it"
    assert " towards " in found["recipe"][0]
    archives = found["archive"]["generations"]
    assert archives[-1] == found["archive"]["generation"] == status["generation"]
    assert (
        f"since generation {archives[0]}"
        in acdc("trace", finished_run, "--expert", bred["expert"]).stdout
    )
    with RunStore.open(finished_run, read_only=True) as store:
        own = store.skill_counts(bred["expert"])
        parents = {name: store.skill_counts(name) for name in bred["parents"]}
        for change, solves in (("gained", True), ("lost", False)):
            for row in found["against_parents"][change]:
                assert own[row["family"]].passed is solves
                theirs = [
                    each[row["family"]].passed for each in parents.values() if row["family"] in each
                ]
                assert any(theirs) is not solves
        for row in found["answers"]:
            assert row["passed"] == store.verdict(row["key"])
    assert found["answers"]
    said = acdc("trace", finished_run, "--expert", bred["expert"], "--limit", "2").stdout
    assert f"answers 1 to 2 of {sum(not row['sample'] for row in found['answers'])}" in said


def test_of_an_expert_and_a_family_nothing_else_is_told(acdc: Acdc, finished_run: Path) -> None:
    expert = acdc.json("status", finished_run)["archive"][0]["expert"]
    with RunStore.open(finished_run, read_only=True) as store:
        wanted, counts = next(iter(store.skill_counts(expert).items()))
        name = labels(store.families())[wanted]
        other = next(each for each in store.families() if each.id != wanted)
    found = trace.collect(RunFolder(finished_run), wanted, expert)
    [told] = found["experts"]
    assert {row["family"] for row in told["answers"]} == {told["family"]} == {wanted}
    said = _told(found, width=200)
    assert f"passes {name}: {counts.passes} of {counts.asked}\n" in said
    assert [each for each in ("made of", "genome", other.name) if each in said] == []


def test_no_expert_answered_what_was_rejected(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {}}')
    with RunStore.open(tmp_path) as store:
        for index in range(2):
            asked = Assignment(id=f"a{index}", generation=0, index=index, kind="novel", rng_seed=1)
            store.put_assignment(asked)
        store.put_family(family(0))
        store.finish_assignment("a0", "accepted", family_id="f0")
        store.finish_assignment("a1", "rejected", Rejection(reason="leaked"))
        with pytest.raises(StoreError, match="no expert"):
            trace.collect(RunFolder(tmp_path), "a0", "nobody")
        with pytest.raises(UsageError, match="no family came of a1"):
            trace.collect(RunFolder(tmp_path), "a1", "nobody")


def test_answers_that_a_pass_rate_counts_stand_apart_from_earlier_ones_and_the_finals(
    tmp_path: Path,
) -> None:
    asking = family(0).model_copy(update={"seed": 1, "levels": 2})
    expert = Expert(id="a", genome_id="g", generation=0, birth=0, operator="seed")
    reply = Reply(text="3", tokens_in=1, tokens_out=1, finish_reason="stop", seconds=0.1)
    with RunStore.open(tmp_path) as store:
        store.put_family(asking)
        store.put_genome("g", b"g")
        store.put_expert(expert)
        for period in (0, 1, FINALS):
            drawn = Instance(
                family="f0",
                period=period,
                name=f"1@1.{period}",
                instructions=f"asked in {period}",
                reference="3",
                wrong=("4",),
            )
            store.put_instances([drawn])
            answer = Answer(
                key=f"k{period}",
                genome_id="g",
                instance_hash=item_of(asking, drawn).instance_hash,
                sample=0,
                reply=reply,
                extracted="3",
                unmarked=False,
            )
            store.put_answers(
                [answer, answer.model_copy(update={"key": f"s{period}", "sample": 1})]
            )
        for period in (0, 1):
            store.set_skill("a", "f0", Skill(passes=1, asked=1), period)
        rows = read_answers(store, expert)
    assert [row["key"] for row in rows if row["counts"]] == ["k1"]
    assert rows[0]["key"] == "k1", "first what counts"
    out = io.StringIO()
    tell_answers(rows, Terminal(file=out, width=120))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    before = lines.index("not counted now, asked in adaptation period 0:")
    after = lines.index("not counted now, asked in the finals:")
    assert any("asked in 1 " in line for line in lines[:before])
    assert any("asked in 0 " in line for line in lines[before:after])


def test_the_archives_that_held_an_expert_are_told_from_the_first(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        stays = {"a": (0, 1, 2, 3), "b": (0, 2, 3), "c": (1, 2), "d": (3,)}
        for number, name in enumerate(stays):
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(
                    id=name,
                    genome_id=name,
                    generation=0,
                    birth=number,
                    operator="linear",
                    rng_seed=0,
                )
            )
        for generation in range(4):
            store.put_archive(
                generation,
                [
                    ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
                    for rank, (name, held) in enumerate(stays.items())
                    if generation in held
                ],
            )
        assert standing(store, "b")["generations"] == [0, 2, 3]
        told = {name: standing_in_words(standing(store, name)) for name in (*stays, "e")}
    assert "; in the archive since generation 0;" in told["a"]
    assert "; in the archive since generation 2 and in generation 0;" in told["b"]
    assert "; left the archive, in which it was in generations 1 to 2;" in told["c"]
    assert "; in the archive since generation 3;" in told["d"]
    assert told["e"] == "never in the archive"


def test_the_families_of_a_lesson_are_listed_with_whose_answers_it_learnt() -> None:
    given = {"anchor": "tutor-g5", "tutors": {"g0-a02": "g4-5", "g4-a04": ""}, "losses": [2.5, 0.1]}
    assert listed(given) == "anchor tutor-g5; tutors g0-a02 (g4-5), g4-a04; losses 2.5, 0.1"


def test_what_a_run_merged_and_taught_is_told_in_words(tmp_path: Path) -> None:
    assert anchor_in_words("numbers") == "numbers"
    assert (
        anchor_in_words("regmean-g4.numbers") == "the part of numbers in the merge of generation 4"
    )
    assert anchor_in_words("regmean-g4+spectral") == "the mutations in the merge of generation 4"
    assert anchor_in_words("tutor-g2") == "the lesson of generation 2"
    assert (
        anchor_in_words("regmean-g4.tutor-g2")
        == "the part of the lesson of generation 2 in the merge of generation 4"
    )
    assert anchor_in_words("graft-g3") == "the merge of two in generation 3"
    with RunStore.open(tmp_path) as store:
        for part in (".numbers", ".words"):
            store.add_event(
                Graft(
                    anchor=f"regmean-g4{part}",
                    content_hash=part,
                    path="p",
                    parents=("g2-2", "g3-1"),
                    method="regmean",
                )
            )
        used = ["words", "regmean-g4.words", "regmean-g4.numbers"]
        [line] = anchors_explained(store, used)
    assert line.startswith("the merge of generation 4: regmean of g2-2, g3-1;")


def test_one_answer_tells_its_question_its_grades_and_what_others_said(
    acdc: Acdc, finished_run: Path
) -> None:
    expert = acdc.json("status", finished_run)["archive"][0]["expert"]
    row = acdc.json("trace", finished_run, "--expert", expert)["experts"][0]["answers"][0]
    [found] = acdc.json("trace", finished_run, "--answer", row["key"])["answers"]
    assert expert in found["experts"]
    assert (found["question"], found["said"]) == (row["question"], row["said"])
    assert found["grades"]
    assert found["others"]
    said = acdc("trace", finished_run, "--answer", row["key"][:12]).stdout
    assert "others on the same question" in said
    assert "begins with 'nothing'" in acdc(
        "trace", finished_run, "--answer", "nothing", code=2
    ).stderr.replace("\n", " ")


def test_lists_are_read_in_pages(finished_run: Path) -> None:
    found = trace.collect(RunFolder(finished_run))
    total = len(found["assignments"])
    first = _told(found, brief=True, limit=2)
    assert f"assignments 1 to 2 of {total}" in first
    assert "--offset 2" in first
    ids = [each["assignment"]["id"] for each in found["assignments"]]
    last = _told(found, brief=True, limit=2, offset=total - 1)
    assert ids[-1] in last
    assert ids[-2] not in last
    assert "no assignments from number" in _told(found, brief=True, offset=total)
