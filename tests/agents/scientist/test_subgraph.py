"""The scientist subgraph, with scripted models, a real run store and simple gates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.chat.client import ChatClient, Place
from agents.chat.endpoints import EndpointsSettings
from agents.chat.structured import parse_object
from agents.critic.novelty import interestingly_new
from agents.errors import BudgetExhausted, ContextLengthError, EndpointError, FamilyFault
from agents.families.candidate import generators, revisions, slug
from agents.families.proposal import Proposal
from agents.offline import OfflineTransport
from agents.scientist.messages import shown_to_proposer
from agents.scientist.subgraph import ScientistContext, build_scientist, candidate_family
from agents.settings import CalibrationSettings, ScientistSettings
from agents.trial.levels import Calibrated
from memory.records import (
    Assignment,
    AssignmentKind,
    Family,
    GateReport,
    Json,
    LevelRate,
    Rejection,
    Role,
    TrialAnswer,
)
from memory.store import RunStore
from prompts import PromptLibrary, worked_example
from tests.agents.cases import ScriptedChat, unlike_all

ASSIGNMENT = Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=7)
ACCEPT = {"verdict": "accept", "problems": []}
REFINE = {"verdict": "refine", "problems": ["Too hard: nobody passes; ask for less."]}
REJECT = {"verdict": "reject", "problems": ["Guessable: the answer is always even."]}
ANSWERS = (TrialAnswer(expert="base", instance="1", text="Answer: 4", extracted="4", passed=True),)
RULE = CalibrationSettings()
CURVE = (LevelRate(level=1, asked=1, passed=1),)
PASSED = GateReport(
    code=None,
    instructions={"1": "Count.", "2": "Count again."},
    references={"1": "4", "2": "5"},
    wrong={"1": ["14"], "2": ["22"]},
)
FAILED = GateReport(code="wrong_passes", detail="the wrong answer '5' scores 1")


def proposal(mark: str = "", **changes: Json) -> dict[str, Json]:
    example = worked_example()
    return example | {"code": example["code"] + f"# {mark}\n"} | changes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run.db") as store:
        store.put_assignment(ASSIGNMENT)
        yield store


def context(
    store: RunStore,
    chat: ChatClient,
    gates: Callable[[Proposal], GateReport] = lambda proposal: PASSED,
    **settings: Any,
) -> ScientistContext:
    async def run_gates(assignment: Assignment, proposal: Proposal) -> GateReport:
        return gates(proposal)

    async def trial(assignment: Assignment, proposal: Proposal, report: GateReport) -> Calibrated:
        return Calibrated(report, CURVE, ANSWERS)

    chosen = ScientistSettings(**settings)
    return ScientistContext(store, chat, chosen, run_gates, trial, unlike_all)


async def work(context: ScientistContext) -> None:
    await build_scientist().ainvoke({"assignment": "g0-a00", "round": 0}, context=context)


def scripted(store: RunStore, scientist: list[Any], critic: list[Any]) -> ScriptedChat:
    return ScriptedChat(store, {"scientist": scientist, "critic": critic})


async def test_an_accepted_proposal_becomes_a_candidate(store: RunStore) -> None:
    chat = scripted(store, [proposal()], [ACCEPT])
    await work(context(store, chat))
    assert store.assignment_status("g0-a00").status == "candidate"
    (draft,) = store.drafts("g0-a00")
    assert draft.gates == PASSED
    assert draft.answers == ANSWERS
    assert draft.critique is not None
    assert [purpose for purpose, _ in chat.asked] == ["propose", "critique"]


async def test_a_critique_is_answered_within_the_same_conversation(store: RunStore) -> None:
    chat = scripted(store, [proposal("first"), proposal("second")], [REFINE, ACCEPT])
    await work(context(store, chat))
    assert store.assignment_status("g0-a00").status == "candidate"
    asked = dict(chat.asked)
    assert [m.role for m in asked["refine"]] == ["system", "user", "assistant", "user"]
    assert asked["refine"][:2] == asked["propose"]
    assert json.loads(asked["refine"][2].content) == proposal("first")
    assert "nobody passes; ask for less" in asked["refine"][3].content
    assert "Answer: 4" in asked["refine"][3].content


async def test_a_failed_gate_goes_back_to_the_scientist_without_a_critic(store: RunStore) -> None:
    chat = scripted(store, [proposal("first"), proposal("second")], [ACCEPT])
    gates = [FAILED, PASSED]
    await work(context(store, chat, lambda proposal: gates.pop(0)))
    assert [purpose for purpose, _ in chat.asked] == ["propose", "refine", "critique"]
    assert FAILED.detail in chat.asked[1][1][-1].content
    assert store.assignment_status("g0-a00").status == "candidate"


async def test_a_family_that_breaks_on_an_experts_answer_goes_back_before_any_critic(
    store: RunStore,
) -> None:
    async def broken(assignment: Assignment, proposal: Proposal, report: GateReport) -> Calibrated:
        raise FamilyFault("crash", "an answer of words: KeyError: 'x'")

    chat = scripted(store, [proposal("first"), proposal("second")], [])
    working = dataclasses.replace(context(store, chat, max_refinements=1), trial=broken)
    await work(working)
    assert [purpose for purpose, _ in chat.asked] == ["propose", "refine"]
    assert "an answer of words: KeyError" in chat.asked[1][1][-1].content
    status, rejection, _ = store.assignment_status("g0-a00")
    assert status == "rejected"
    assert rejection == Rejection(reason="crash", detail="an answer of words: KeyError: 'x'")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Sums\x1b[2J"}, "name: Value error, must be one line"),
        ({"capability": "sums\nand more"}, "capability: Value error, must be one line"),
        (
            {"wrong_answers": {"1": ["5"], "2": ["5"] * 21}},
            "wrong_answers.2: Value error, at most 20 wrong answers",
        ),
    ],
)
def test_what_would_spoil_a_display_or_keep_the_gates_busy_is_malformed(
    changes: dict[str, Any], told: str
) -> None:
    parsed, problem = parse_object(json.dumps(proposal() | changes), Proposal, truncated=False)
    assert parsed is None
    assert told in (problem or "")


async def test_a_malformed_reply_is_shown_and_fixed(store: RunStore) -> None:
    chat = scripted(store, ["I would rather not.", proposal()], [ACCEPT])
    await work(context(store, chat))
    first, second = store.drafts("g0-a00")
    assert first.proposal is None
    assert first.problem
    assert second.problem is None
    messages = chat.asked[1][1]
    assert messages[2].content == "I would rather not."
    assert first.problem in messages[3].content
    assert store.assignment_status("g0-a00").status == "candidate"


@pytest.mark.parametrize(
    ("critic", "gates", "reason"),
    [
        ([REJECT], PASSED, "critic_reject"),
        ([REFINE] * 4, PASSED, "rounds_exhausted"),
        ([], FAILED, "wrong_passes"),
        (["nonsense", "more of it"], PASSED, "malformed"),
    ],
)
async def test_rejections_are_kept_with_their_reason(
    store: RunStore, critic: list[Any], gates: GateReport, reason: str
) -> None:
    chat = scripted(store, [proposal(str(n)) for n in range(4)], critic)
    await work(context(store, chat, lambda proposal: gates))
    status, rejection, _ = store.assignment_status("g0-a00")
    assert status == "rejected"
    assert rejection is not None
    assert rejection.reason == reason
    assert rejection.detail


async def test_malformed_to_the_end_is_a_rejection(store: RunStore) -> None:
    chat = scripted(store, ["no"] * 3, [])
    await work(context(store, chat, max_refinements=2))
    assert store.rejection_counts() == {"malformed": 1}
    assert len(store.drafts("g0-a00")) == 3


@pytest.mark.parametrize("role", ["scientist", "critic"])
async def test_an_endpoint_that_fails_ends_this_assignment_only(
    store: RunStore, role: Role
) -> None:
    error = EndpointError(role, "http://nowhere", "m", "HTTP 500", "start it")
    script: dict[str, list[Any]] = {"scientist": [proposal()], "critic": [ACCEPT]}
    script[role] = [error]
    await work(context(store, ScriptedChat(store, script)))
    assert store.rejection_counts() == {"endpoint": 1}


@pytest.mark.parametrize("role", ["scientist", "critic"])
async def test_an_endpoint_that_is_down_ends_the_run_and_leaves_the_assignment_open(
    store: RunStore, role: Role
) -> None:
    error = EndpointError(role, "http://nowhere", "m", "HTTP 500", "start it")
    script: dict[str, list[Any]] = {"scientist": [proposal()], "critic": [ACCEPT]}
    script[role] = [error]
    with pytest.raises(EndpointError):
        await work(context(store, ScriptedChat(store, script, up=False)))
    assert store.assignment_status("g0-a00").status == "open"


TOO_LONG = ContextLengthError("scientist", "http://nowhere", "m", "8192 tokens at most")


async def test_a_conversation_that_is_too_long_is_held_without_extras(store: RunStore) -> None:
    await work(context(store, scripted(store, [proposal()], [ACCEPT])))
    other = candidate_family(store, ASSIGNMENT)
    store.put_family(other)
    rich = ASSIGNMENT.model_copy(
        update={
            "id": "g0-a01",
            "inspirations": (other.id,),
            "weak_spots": ("juggling",),
            "lately_rejected": ("Sums: duplicate",),
            "taken_names": ("Lengths of words",),
        }
    )
    store.put_assignment(rich)
    chat = scripted(store, [TOO_LONG, proposal("a"), TOO_LONG, proposal("b")], [REFINE, ACCEPT])
    await build_scientist().ainvoke(
        {"assignment": rich.id, "round": 0}, context=context(store, chat)
    )
    assert store.assignment_status(rich.id).status == "candidate"
    openings = [messages[1].content for purpose, messages in chat.asked if purpose != "critique"]
    extras = ["for contrast", "juggling", "Sums: duplicate", "Lengths of words"]
    shown = [[extra in opening for extra in extras] for opening in openings]
    assert shown == [[True] * 4, [False] * 4, [True] * 4, [False] * 4]
    assert chat.asked[-1][0] == "critique"


async def test_what_is_too_long_even_so_fails_that_assignment_alone(store: RunStore) -> None:
    await work(context(store, scripted(store, [proposal(), TOO_LONG, TOO_LONG], [REFINE])))
    assert store.rejection_counts() == {"context_length": 1}


async def test_a_rater_that_fails_while_gates_run_is_an_endpoint_that_fails(
    store: RunStore,
) -> None:
    def gates(proposal: Proposal) -> GateReport:
        raise EndpointError("rater", "http://nowhere", "m", "HTTP 500", "start it")

    await work(context(store, scripted(store, [proposal()], []), gates))
    assert store.rejection_counts() == {"endpoint": 1}


async def test_a_scientist_hears_of_rated_families_only_where_somebody_rates(
    store: RunStore,
) -> None:
    chat = scripted(store, [proposal()], [ACCEPT])
    await work(dataclasses.replace(context(store, chat), can_rate=True))
    assert "several\nvotes of a rater" in chat.asked[0][1][0].content.replace("  ", "")
    rendered = PromptLibrary().render("propose", **shown_to_proposer(store, ASSIGNMENT, rule=RULE))
    assert "nobody here grades by a rubric" in rendered.messages[0][1]


async def test_an_exhausted_budget_ends_the_run_and_leaves_the_assignment_open(
    store: RunStore,
) -> None:
    chat = scripted(store, [proposal()], [BudgetExhausted("critic", "calls", 1)])
    with pytest.raises(BudgetExhausted):
        await work(context(store, chat))
    assert store.assignment_status("g0-a00").status == "open"


async def test_without_a_critic_the_gates_decide(store: RunStore) -> None:
    chat = scripted(store, [proposal()], [])
    await work(context(store, chat, critic=False))
    assert store.assignment_status("g0-a00").status == "candidate"
    assert [purpose for purpose, _ in chat.asked] == ["propose"]


async def test_a_replay_after_a_kill_asks_nothing_twice(store: RunStore) -> None:
    killed = scripted(store, [proposal("first")], [ProcessLookupError("killed")])
    with pytest.raises(ProcessLookupError):
        await work(context(store, killed))
    assert len(store.calls()) == 1
    chat = scripted(store, [proposal("second")], [REFINE, ACCEPT])
    await work(context(store, chat))
    assert [purpose for purpose, _ in chat.asked] == ["critique", "refine", "critique"]
    once = candidate_family(store, ASSIGNMENT)
    drafts = store.drafts("g0-a00")
    await work(context(store, scripted(store, [], [])))
    assert store.drafts("g0-a00") == drafts
    assert candidate_family(store, ASSIGNMENT) == once


async def test_the_family_record_tells_where_it_comes_from(store: RunStore) -> None:
    same_code = proposal("second", name="Passengers on two buses")
    chat = scripted(store, [proposal("first"), proposal("second"), same_code], [REFINE] * 2)
    chat.scripts["critic"].append(ACCEPT)
    await work(context(store, chat))
    family = candidate_family(store, ASSIGNMENT)
    assert family.id == "g0-a00-passengers-on-two-buses"
    assert family.instructions == PASSED.instructions
    assert family.reference_answers == PASSED.references
    assert family.scientist == "scripted-scientist"
    assert family.revisions == 1
    assert set(family.prompt_hashes) == {"propose", "refine", "critique"}
    assert family.prompt_hashes["propose"] == PromptLibrary().prompt("propose").hash
    assert family.parents == ()


async def test_parent_and_pool_are_shown(store: RunStore) -> None:
    await work(context(store, scripted(store, [proposal()], [ACCEPT])))
    parent = candidate_family(store, ASSIGNMENT)
    store.put_family(parent)
    child = ASSIGNMENT.model_copy(
        update={
            "id": "g2-a00",
            "generation": 2,
            "kind": "harder",
            "parent": parent.id,
            "inspirations": (parent.id,),
            "weak_spots": ("counting",),
            "lately_rejected": ("Sums: duplicate (of Addition)",),
            "taken_names": ("Addition", "Lengths of words"),
        }
    )
    store.put_assignment(child)
    chat = scripted(store, [proposal("child")], [ACCEPT])
    await build_scientist().ainvoke(
        {"assignment": "g2-a00", "round": 0}, context=context(store, chat)
    )
    told = chat.asked[0][1][1].content
    assert parent.code.strip() in told
    assert "Sums: duplicate (of Addition)" in told
    assert "Lengths of words" in told
    assert "has to be above the parent's" in told
    assert candidate_family(store, child).parents == (parent.id,)


def test_names_and_headers_are_read() -> None:
    assert slug("Chain sums: 3 terms!") == "chain-sums-3-terms"
    assert slug("¿?") == "family"
    assert len(slug("word " * 40)) <= 40
    assert generators("# generators: chain_sum, gcd\nx = 1") == "chain_sum, gcd"
    assert generators("x = 1") == ""
    assert revisions([]) == 0


@pytest.mark.parametrize(("said", "decision"), [("known", "known"), ("new", "new"), (None, None)])
async def test_novelty_is_asked_of_the_critic(
    store: RunStore, said: str | None, decision: str | None
) -> None:
    await work(context(store, scripted(store, [proposal()], [ACCEPT])))
    family = candidate_family(store, ASSIGNMENT)
    reply = {"decision": said, "reason": "because"} if said else "who knows"
    chat = scripted(store, [], [reply])
    neighbours: list[Family] = [family.model_copy(update={"name": "A neighbour"})]
    verdict = await interestingly_new(chat, family, neighbours, Place("g0-a00", seed=1))
    assert (verdict.decision if verdict else None) == decision
    assert "A neighbour" in chat.asked[0][1][1].content


async def test_novelty_beside_too_many_neighbours_is_asked_beside_the_nearest(
    store: RunStore,
) -> None:
    await work(context(store, scripted(store, [proposal()], [ACCEPT])))
    family = candidate_family(store, ASSIGNMENT)
    neighbours = [family.model_copy(update={"name": name}) for name in ("Nearest", "Second")]
    chat = scripted(store, [], [TOO_LONG, {"decision": "new", "reason": "because"}, TOO_LONG])
    verdict = await interestingly_new(chat, family, neighbours, Place(None))
    assert verdict is not None
    assert "Nearest" in chat.asked[1][1][1].content
    assert "Second" not in chat.asked[1][1][1].content
    with pytest.raises(ContextLengthError):
        await interestingly_new(chat, family, neighbours[1:], Place(None))


async def test_a_reply_that_the_prompt_does_not_ask_for_is_a_fault(store: RunStore) -> None:
    chat = ChatClient(EndpointsSettings(), store, transport=OfflineTransport())
    with pytest.raises(AssertionError, match="asks for Proposal"):
        await chat.ask(
            "propose",
            Place("g0-a00"),
            shown_to_proposer(store, ASSIGNMENT, rule=RULE),
        )
    await chat.close()


def parent_of_levels(store: RunStore, level: int) -> Family:
    """A family of the pool whose program has five levels."""
    written = Proposal.model_validate(
        proposal("parent", reference_answers=None, wrong_answers=None, difficulty=2)
    )
    gates = PASSED.model_copy(update={"levels": 5, "level": level, "seed": 3})
    facts = {"id": "g0-a00-buses", "scientist": "m", "prompt_hashes": {"propose": "0f"}}
    parent = written.to_family(gates, **facts)
    store.put_family(parent)
    return parent


def child(store: RunStore, parent: Family, kind: AssignmentKind) -> Assignment:
    changes = {"id": "g2-a00", "generation": 2, "kind": kind, "parent": parent.id}
    assignment = ASSIGNMENT.model_copy(update=changes)
    store.put_assignment(assignment)
    return assignment


def calibrated(context: ScientistContext, *outcomes: GateReport) -> ScientistContext:
    """The context with a trial that finds these, one after the other."""
    left = list(outcomes)

    async def trial(assignment: Assignment, proposal: Proposal, report: GateReport) -> Calibrated:
        return Calibrated(left.pop(0), CURVE, ANSWERS)

    return dataclasses.replace(context, trial=trial)


@pytest.mark.parametrize(("kind", "level", "difficulty"), [("harder", 4, 3), ("easier", 2, 1)])
async def test_a_programs_own_levels_come_before_any_scientist(
    store: RunStore, kind: AssignmentKind, level: int, difficulty: int
) -> None:
    parent = parent_of_levels(store, 3)
    assignment = child(store, parent, kind)
    found = PASSED.model_copy(update={"levels": 5, "level": level, "seed": 4})
    chat = scripted(store, [], [])
    working = calibrated(context(store, chat), found)
    await build_scientist().ainvoke({"assignment": assignment.id, "round": 0}, context=working)
    assert chat.asked == []
    assert store.assignment_status(assignment.id).status == "candidate"
    family = candidate_family(store, assignment)
    assert (family.code, family.level, family.seed) == (parent.code, level, 4)
    assert (family.name, family.difficulty) == (f"{parent.name}, level {level}", difficulty)
    assert (family.scientist, family.prompt_hashes) == (parent.scientist, parent.prompt_hashes)
    assert family.parents == (parent.id,)
    assert (family.kind, family.revisions, family.curve) == (kind, 0, CURVE)


async def test_where_no_level_is_left_in_the_band_a_scientist_goes_on_from_there(
    store: RunStore,
) -> None:
    assignment = child(store, parent_of_levels(store, 4), "harder")
    still_easy = PASSED.model_copy(update={"code": "too_easy", "detail": "12 of 12 at level 5"})
    chat = scripted(store, [proposal("new")], [ACCEPT])
    working = calibrated(context(store, chat), still_easy, PASSED)
    await build_scientist().ainvoke({"assignment": assignment.id, "round": 0}, context=working)
    assert [purpose for purpose, _ in chat.asked] == ["refine", "critique"]
    assert "12 of 12 at level 5" in chat.asked[0][1][-1].content
    assert candidate_family(store, assignment).name == worked_example()["name"]


async def test_above_the_top_level_a_scientist_is_asked_at_once(store: RunStore) -> None:
    assignment = child(store, parent_of_levels(store, 5), "harder")
    chat = scripted(store, [proposal("new")], [ACCEPT])
    await build_scientist().ainvoke(
        {"assignment": assignment.id, "round": 0}, context=context(store, chat)
    )
    assert [purpose for purpose, _ in chat.asked] == ["propose", "critique"]


async def test_what_the_panel_finds_goes_back_without_a_critic(store: RunStore) -> None:
    chat = scripted(store, [proposal("first"), proposal("second")], [ACCEPT])
    too_hard = PASSED.model_copy(update={"code": "too_hard", "detail": "0 of 12 at level 1"})
    await work(calibrated(context(store, chat), too_hard, PASSED))
    assert [purpose for purpose, _ in chat.asked] == ["propose", "refine", "critique"]
    assert "0 of 12 at level 1" in chat.asked[1][1][-1].content
    first, second = store.drafts("g0-a00")
    assert (first.gates, first.curve, first.answers) == (too_hard, CURVE, ANSWERS)
    assert second.gates == PASSED


async def test_a_duplicate_goes_back_before_anybody_reviews_it(store: RunStore) -> None:
    found = [Rejection(reason="duplicate", detail="similarity 0.990 to Trams (g0-a07)"), None]

    async def novelty(assignment: Assignment, family: Family) -> Rejection | None:
        return found.pop(0)

    chat = scripted(store, [proposal("first"), proposal("second")], [ACCEPT])
    await work(dataclasses.replace(context(store, chat), novelty=novelty))
    assert [purpose for purpose, _ in chat.asked] == ["propose", "refine", "critique"]
    assert "similarity 0.990 to Trams" in chat.asked[1][1][-1].content
    first, _ = store.drafts("g0-a00")
    assert first.gates is not None
    assert first.gates.code == "duplicate"
    assert store.assignment_status("g0-a00").status == "candidate"
