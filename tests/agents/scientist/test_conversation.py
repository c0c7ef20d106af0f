"""Conversations as a strong model holds them, by real prompts: what each agent is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.chat.client import messages_of
from agents.critic.critique import shown_to_critic
from agents.families.items import items_of
from agents.scientist.messages import (
    conversation,
    extents,
    shown_to_proposer,
    shown_to_refiner,
)
from agents.settings import CalibrationSettings
from memory.hashing import text_hash
from memory.records import (
    Answer,
    Assignment,
    AssignmentKind,
    Audience,
    ChatMessage,
    Critique,
    Draft,
    Exchange,
    Expert,
    Family,
    GateCode,
    GateReport,
    Grade,
    Habit,
    LevelRate,
    Reply,
    Said,
    TrialAnswer,
)
from memory.store import RunStore
from prompts import PromptLibrary, worked_example
from tests.agents.cases import family

PROMPTS = PromptLibrary()
ROUNDS = 3
SEPARATING = Exchange(
    question="Which of these words comes first in a dictionary: river, apple, desk?",
    reference="apple",
    replies=(
        Said(expert="words", answer="apple", passed=True),
        Said(expert="logic", answer="desk", passed=False),
    ),
)
AUDIENCE = Audience(
    parameters=134_515_008,
    experts=8,
    max_tokens=24,
    exchanges=(SEPARATING,),
    habits=(Habit(what="wrong answers are the last number", share=0.375, of=40),),
)
ASSIGNMENT = Assignment(
    id="g0-a00",
    generation=0,
    index=0,
    kind="novel",
    field="dates and time",
    audience=AUDIENCE,
    rng_seed=7,
)
CURVE = (
    LevelRate(level=1, asked=12, passed=1),
    LevelRate(level=2, asked=12, passed=3, chance=0.25),
)
ANSWERS = (
    TrialAnswer(
        expert="words",
        level=2,
        instance="1@2.5",
        question="What day is two days after Monday?",
        text="Answer: Wednesday",
        extracted="Wednesday",
        passed=True,
    ),
)
SAMPLE_WANTED = "Ambiguous form: two forms of a date were given; the form has to be shown."
SAMPLE_UNWANTED = "Guessable: a reply repeats the sample; the sample may not be a likely answer."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run.db") as store:
        store.put_assignment(ASSIGNMENT)
        yield store


def drafted(number: int, problem: str = "", code: GateCode | None = None) -> Draft:
    """A draft that the critic wants changed, or that a gate or the calibration turned down."""
    return Draft(
        assignment=ASSIGNMENT.id,
        round=number,
        proposal=worked_example() | {"name": f"Days of the week, draft {number}"},
        gates=GateReport(
            code=code,
            detail="as the curve shows" if code else "",
            levels=4,
            level=2,
            seed=5,
            instructions={"1": "What day is two days after Friday?", "2": "And after Monday?"},
            references={"1": "Sunday", "2": "Wednesday"},
        ),
        curve=CURVE,
        answers=ANSWERS,
        critique=Critique(verdict="refine", problems=[problem]) if problem else None,
    )


RULE = CalibrationSettings()


def opening(store: RunStore, assignment: Assignment = ASSIGNMENT) -> list[ChatMessage]:
    shown = shown_to_proposer(store, assignment, rounds_left=ROUNDS, rule=RULE)
    return messages_of(PROMPTS.render("propose", **shown))


def asked_again(store: RunStore, drafts: list[Draft], *, whole: bool = True) -> list[ChatMessage]:
    """The whole request for the round after these drafts."""
    *earlier, last = drafts
    before = conversation(PROMPTS, store, opening(store), drafts, ROUNDS, whole=whole)
    left = ROUNDS - last.round - 1
    shown = shown_to_refiner(last, left, () if whole else earlier)
    return [*before, *messages_of(PROMPTS.render("refine", **shown))]


def feedback(code: GateCode) -> str:
    (message,) = messages_of(PROMPTS.render("refine", **shown_to_refiner(drafted(0, code=code), 2)))
    return message.content


def reviewed(store: RunStore, draft: Draft, assignment: Assignment = ASSIGNMENT) -> str:
    """What the critic is asked, system and user."""
    shown = shown_to_critic(store, assignment, draft, rounds_left=ROUNDS - draft.round, rule=RULE)
    return "\n".join(m.content for m in messages_of(PROMPTS.render("critique", **shown)))


def block(text: str, label: str) -> Any:
    """The JSON under a heading."""
    found = re.search(rf"^## {label}\n(?:(?!^## ).)*?^```json\n(.*?)\n```$", text, re.M | re.S)
    assert found is not None, label
    return json.loads(found[1])


def flat(text: str) -> str:
    return " ".join(text.split())


def test_both_agents_are_told_who_answers(store: RunStore) -> None:
    system, user = opening(store)
    told = block(user.content, "Who answers")
    assert told == block(reviewed(store, drafted(0)), "Who answers")
    assert (told["parameters"], told["experts"]) == ("135 million", 8)
    assert told["tokens_of_an_answer"] == 24
    (shown,) = told["questions_and_replies"]
    assert {reply["passed"] for reply in shown["replies"]} == {True, False}
    assert told["habits"] == ["38% of 40 wrong answers are the last number"]
    assert "at once. They have 24 tokens" in flat(system.content)
    assert "may reason freely" not in system.content


def test_models_with_room_to_reason_are_told_as_such(store: RunStore) -> None:
    roomy = AUDIENCE.model_copy(update={"max_tokens": 512})
    for audience in (roomy, None):
        system, _ = opening(store, ASSIGNMENT.model_copy(update={"audience": audience}))
        assert "may reason freely" in system.content
        assert "at once. They have" not in system.content


def test_acceptance_is_one_rule_told_to_both_in_the_same_words(store: RunStore) -> None:
    rule = CalibrationSettings(low=0.2, high=0.9, instances=6)
    shown = shown_to_proposer(store, ASSIGNMENT, rule=rule)
    (system, _) = messages_of(PROMPTS.render("propose", **shown))
    shown = shown_to_critic(store, ASSIGNMENT, drafted(0), rule=rule)
    (critics, _) = messages_of(PROMPTS.render("critique", **shown))
    for text in (flat(system.content), flat(critics.content)):
        assert (
            "at the level at which a family enters the pool, the share of right answers, chance "
            "taken off, lies between 20 % and 90 %" in text
        )
        assert re.search("answer(ed)? up to 6 instances per level", text)
        assert "Multiple choice is allowed: 3 to 5 options" in text
        assert "the place of the right one is drawn from the seed" in text


def test_the_worked_example_is_generative(store: RunStore) -> None:
    example = block(opening(store)[1].content, "Worked example")
    assert example["reference_answers"] is None
    assert example["wrong_answers"] is None
    for part in ("levels = 4", "def reference(", "def wrong(", "seed: int = 0, level: int = 1"):
        assert part in example["code"]
        assert part.removesuffix("(") in opening(store)[0].content


def test_a_refinement_sends_the_whole_conversation(store: RunStore) -> None:
    drafts = [drafted(0, SAMPLE_WANTED), drafted(1, SAMPLE_UNWANTED), drafted(2, code="too_hard")]
    messages = asked_again(store, drafts)
    roles = [message.role for message in messages]
    assert roles == ["system", "user", *["assistant", "user"] * 3]
    replies = [json.loads(message.content)["name"] for message in messages[2::2]]
    assert replies == [f"Days of the week, draft {number}" for number in range(3)]
    assert [SAMPLE_WANTED in message.content for message in messages[3::2]] == [True, False, False]
    assert SAMPLE_UNWANTED in messages[5].content
    left = [re.search(r"Rounds left after this one: (\d)", m.content) for m in messages[3::2]]
    assert [found[1] for found in left if found] == ["2", "1", "0"]
    assert f"After this draft there are {ROUNDS} rounds" in flat(messages[0].content)


def test_what_was_said_is_the_beginning_of_what_is_said_next(store: RunStore) -> None:
    drafts = [drafted(0, SAMPLE_WANTED), drafted(1, SAMPLE_UNWANTED)]
    assert asked_again(store, drafts)[:4] == asked_again(store, drafts[:1])


def test_a_conversation_that_is_too_long_loses_its_middle_first(store: RunStore) -> None:
    rich = ASSIGNMENT.model_copy(update={"taken_names": ("Sums",)})
    sent = [(extent.assignment.taken_names, extent.whole) for extent in extents(rich, 2)]
    assert sent == [(("Sums",), True), (("Sums",), False), ((), False)]
    assert [extent.whole for extent in extents(rich, 1)] == [True, False], "there is no middle"
    drafts = [drafted(0, SAMPLE_WANTED), drafted(1, SAMPLE_UNWANTED)]
    messages = asked_again(store, drafts, whole=False)
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    (earlier,) = block(messages[-1].content, "Earlier rounds")
    assert earlier["problems"] == [SAMPLE_WANTED]
    assert SAMPLE_UNWANTED in messages[-1].content


def test_the_critic_is_shown_all_earlier_rounds(store: RunStore) -> None:
    drafts = [drafted(0, code="too_hard"), drafted(1, SAMPLE_WANTED), drafted(2)]
    for draft in drafts:
        store.put_draft(draft)
    first, second, third = (reviewed(store, draft) for draft in drafts)
    assert "## Earlier rounds" not in first
    assert [each["gate"] for each in block(second, "Earlier rounds")] == ["too_hard"]
    earlier = block(third, "Earlier rounds")
    assert earlier[0]["detail"] == "as the curve shows"
    assert earlier[0]["curve"][0]["passed"] == 1
    assert (earlier[1]["verdict"], earlier[1]["problems"]) == ("refine", [SAMPLE_WANTED])
    assert "may change this draft: 3" in first
    assert "may change this draft: 1" in third
    assert "Do not ask to undo what was asked for in one of them" in flat(third)


def test_curve_and_answers_with_their_questions_are_shown_to_both(store: RunStore) -> None:
    critics = reviewed(store, drafted(0))
    scientists = asked_again(store, [drafted(0, SAMPLE_WANTED)])[-1].content
    for text in (critics, scientists, feedback("too_hard")):
        assert block(text, "Curve") == [
            {
                "level": 1,
                "asked": 12,
                "passed": 1,
                "chance": "0%",
                "passed_beyond_chance": "8%",
            },
            {
                "level": 2,
                "asked": 12,
                "passed": 3,
                "chance": "25%",
                "passed_beyond_chance": "0%",
            },
        ]
        (answer,) = block(text, "Answers of current models")
        assert answer["question"] == "What day is two days after Monday?"
        assert (answer["level"], answer["passed"]) == (2, True)


def test_an_answer_of_a_closed_family_is_shown_with_the_question_of_its_instance(
    store: RunStore,
) -> None:
    closed = ANSWERS[0].model_copy(update={"instance": "2", "question": ""})
    draft = drafted(0).model_copy(update={"answers": (closed,)})
    (answer,) = block(reviewed(store, draft), "Answers of current models")
    assert answer["question"] == "And after Monday?"


@pytest.mark.parametrize(
    ("code", "named", "helps"),
    [
        ("too_hard", "Too hard", "level 1 be a single step"),
        ("too_easy", "Too easy", "Add levels on top"),
        ("levels_disordered", "Levels out of order", "Let one thing alone grow"),
        ("levels_gap", "A gap between levels", "Put levels between them"),
        ("equal_scores", "Equal scores", "what the passed ones have in common"),
        ("constant_passes", "Passes by a constant", "many possible values"),
        ("duplicate", "Known already", "another skill decide"),
        ("not_novel", "Known already", "another skill decide"),
    ],
)
def test_each_case_is_named_with_what_would_help(code: Any, named: str, helps: str) -> None:
    draft = drafted(0)
    assert draft.gates is not None
    gates = GateReport.model_construct(**(draft.gates.model_dump() | {"code": code}))
    shown = shown_to_refiner(draft.model_copy(update={"gates": gates}), 1)
    (message,) = messages_of(PROMPTS.render("refine", **shown))
    assert f"\n{named}" in message.content
    assert helps in flat(message.content)
    assert "program or a reference may be wrong" not in message.content


def test_a_gate_that_failed_blames_program_or_reference() -> None:
    told = flat(feedback("reference_fails"))
    assert "The program or a reference may be wrong" in told
    assert "fix all that is named" in told


def test_keeping_what_is_good_does_not_make_another_capability_of_it(store: RunStore) -> None:
    told = flat(asked_again(store, [drafted(0, SAMPLE_WANTED)])[-1].content)
    assert "The capability that the assignment and your first draft are about stays" in told
    assert "Is it still the capability that the first round was about?" in flat(
        reviewed(store, drafted(0))
    )


def test_the_critic_names_a_property_and_writes_no_instance(store: RunStore) -> None:
    told = flat(reviewed(store, drafted(0)))
    assert "which property a change must have" in told
    assert "Never write a question, an instance or a text for the family" in told
    assert "Reject for hardness only where that cannot be fixed" in told


def test_the_critic_is_not_asked_what_a_gate_can_see(store: RunStore) -> None:
    duties = flat(reviewed(store, drafted(0)).partition("Check in this order")[2])
    duties = duties.partition("## Assignment")[0]
    for seen in ("every current model passes", "none passes", "Too easy", "constant", "guessed"):
        assert seen not in duties


def test_a_novel_family_is_of_a_field_and_is_shown_no_parent(store: RunStore) -> None:
    parent = family(0)
    store.put_family(parent)
    novel = ASSIGNMENT.model_copy(update={"parent": parent.id})
    user = opening(store, novel)[1].content
    assert block(user, "Assignment")["field"] == "dates and time"
    assert 'Invent a family of the field "dates and time"' in user
    assert "## Parent family" not in user
    assert "## Parent family" not in reviewed(store, drafted(0), novel)


@pytest.mark.parametrize("shown", [{"inspirations": ("f0",)}, {"taken_names": ("Sums",)}, {}])
def test_families_below_are_mentioned_where_there_are_some(
    store: RunStore, shown: dict[str, Any]
) -> None:
    store.put_family(family(0))
    user = flat(opening(store, ASSIGNMENT.model_copy(update=shown))[1].content)
    assert ("none of the families named below" in user) == bool(shown)


def graded(store: RunStore, parent: Family, passes: dict[str, bool]) -> None:
    """Let experts have answered the first instance of a family."""
    item = items_of(parent)[0]
    for birth, (name, passed) in enumerate(passes.items()):
        store.put_genome(name, name.encode())
        store.put_expert(
            Expert(id=name, genome_id=name, generation=0, birth=birth, operator="seed")
        )
        said = f"{name} says {passed}"
        reply = Reply(text=said, tokens_in=1, tokens_out=1, finish_reason="stop", seconds=0.1)
        store.put_answers(
            [
                Answer(
                    key=name,
                    genome_id=name,
                    instance_hash=item.instance_hash,
                    sample=0,
                    reply=reply,
                    extracted=said,
                    unmarked=True,
                )
            ]
        )
        grade = Grade(key=f"grade of {name}", answer_key=name, code_hash="", vote=0, passed=passed)
        store.put_grades([grade])
        store.set_skill(name, parent.id, passed)


@pytest.mark.parametrize(
    ("kind", "difficulty", "told", "untold"),
    [
        ("easier", 1, "difficulty is 1 already, so the number stays", "below the parent's"),
        ("easier", 3, "its difficulty has to be below the parent's", "already"),
        ("harder", 5, "difficulty is 5 already, so the number may stay", "above the parent's"),
        ("harder", 3, "its difficulty has to be above the parent's", "already"),
    ],
)
def test_an_easier_or_harder_family_is_one_that_more_or_fewer_pass(
    store: RunStore, kind: AssignmentKind, difficulty: int, told: str, untold: str
) -> None:
    parent = family(0).model_copy(update={"difficulty": difficulty, "curve": CURVE, "level": 2})
    store.put_family(parent)
    graded(store, parent, {"numbers": False, "words": True, "logic": False})
    child = ASSIGNMENT.model_copy(update={"kind": kind, "parent": parent.id})
    user = opening(store, child)[1].content
    asked = flat(user.partition("## Who answers")[0])
    assert told in asked
    assert untold not in asked
    more = "More" if kind == "easier" else "Fewer"
    assert f"{more} of the models have to pass it than pass the parent" in asked
    assert "1 of 3 models pass the parent family" in asked
    for text in (user, reviewed(store, drafted(0), child)):
        shown = block(text, "Parent family")
        assert (shown["experts_graded"], shown["experts_that_pass"]) == (3, 1)
        assert [rate["passed"] for rate in shown["curve"]] == [1, 3]
        (answers,) = block(text, "Answers to the parent family")
        assert {r["answer"]: r["passed"] for r in answers["replies"]} == {
            "words says True": True,
            "numbers says False": False,
            "logic says False": False,
        }


def test_programs_of_parents_are_shown_to_scientists(store: RunStore) -> None:
    parent = family(0)
    store.put_family(parent)
    child = ASSIGNMENT.model_copy(update={"kind": "related", "parent": parent.id})
    assert text_hash(parent.code) == parent.code_hash
    assert parent.code in opening(store, child)[1].content
