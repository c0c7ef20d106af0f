"""Keys of calls: a run that was begun by an earlier version finds what it has asked already."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from agents.chat.client import ChatClient, Place
from agents.chat.endpoints import EndpointsSettings
from agents.critic.novelty import interestingly_new
from agents.evaluation.scoring import TaskScorer
from agents.families.items import Item, Rubric
from agents.families.proposal import Proposal
from agents.judge.consult import consulted
from agents.judge.gibberish import rater_says_gibberish
from agents.judge.rater import Rater
from agents.sandbox import JudgeQuestion, Submission
from agents.scientist.subgraph import ScientistContext, build_scientist
from agents.settings import ScientistSettings
from agents.task_force.chooser import ChatJudge
from agents.trial.levels import Calibrated
from memory.records import Assignment, Expert, GateReport, TrialAnswer
from memory.store import RunStore
from prompts import worked_example
from tests.agents.cases import ScriptedSandbox, family, unlike_all

KEYS = [
    ("scientist", "propose", 0, "04674bf43a9bb4e86215d374ea05fc85"),
    ("critic", "critique", 0, "292915e92ea690b1d58dc8488f457683"),
    ("scientist", "refine", 1, "5e9cae8750bbb53f0c85b3cd39bbcc96"),
    ("critic", "critique", 1, "c2aed58e35d700ac9314f4613a17d3d2"),
    ("critic", "novelty", 0, "55c972cbc100a96536212271cd39e894"),
    ("rater", "rate", 0, "138941638d39ee9fe864cbe6c79f7f8b"),
    ("rater", "gibberish", 0, "25e23b285f461dc3538dd5e5b4887359"),
    ("rater", "consult", 0, "2ff207b34d1d15dea6a4356d7adc67ad"),
    ("chooser", "choose", 0, "626cdf0845b04199e446de0a1b81ea71"),
    ("chooser", "compare", 0, "c6c7f682da778e091fa39a5e22014fea"),
    ("rater", "appraise", 0, "3a40a5ea426731144b6a31170d437f7e"),
    ("rater", "mark", 0, "3c1e1941fa78cb449029a91e0342b38a"),
]
"""Role, purpose, round and key of one call of each prompt. They change with the text of a prompt
and with what an agent is shown; with nothing else may they change."""

REPLIES = {
    "Proposal": worked_example(),
    "CritiqueReply": {"verdict": "refine", "problems": ["Too easy."]},
    "NoveltyReply": {"decision": "new", "reason": "It counts."},
    "RatingReply": {"reason": "Sound.", "A": "pass", "B": "pass", "C": "fail"},
    "ConsultingReply": {"reason": "Sound.", "verdict": "pass"},
}
ASSIGNMENT = Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=7)


def reply(request: httpx.Request) -> httpx.Response:
    form = json.loads(request.content).get("response_format")
    text = json.dumps(REPLIES[form["json_schema"]["name"]]) if form else "Decision: right"
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    head = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return httpx.Response(200, json={**head, "choices": [choice], "usage": usage})


async def gates(assignment: Assignment, proposal: Proposal) -> GateReport:
    return GateReport(code=None, instructions={"1": "Count.", "2": "Count again."})


async def trial(assignment: Assignment, proposal: Proposal, report: GateReport) -> Calibrated:
    said = TrialAnswer(expert="base", instance="1", text="Answer: 4", extracted="4", passed=True)
    return Calibrated(report, (), (said,))


async def ask_everything(store: RunStore, chat: ChatClient) -> None:
    """One call of each prompt, by those who make it in a run."""
    store.put_assignment(ASSIGNMENT)
    settings = ScientistSettings(max_refinements=1)
    scientist = ScientistContext(store, chat, settings, gates, trial, unlike_all)
    await build_scientist().ainvoke({"assignment": ASSIGNMENT.id, "round": 0}, context=scientist)
    await interestingly_new(chat, family(0), [family(1)], Place(ASSIGNMENT.id, seed=7))
    rubric = Rubric("Friendly.", "Hello!", ("Go away, please.",))
    await Rater(chat, 1, 3).rate(Item("code", "hash", "1", "Greet.", rubric), "Hi!")
    bred = Expert(id="g1-0", genome_id="g", generation=1, birth=0, operator="linear")
    await rater_says_gibberish(chat, bred, ["la la"])
    await consulted(chat, 1, 3)(JudgeQuestion("Greet.", "Hi!", ("friendly",)))
    judge = ChatJudge(chat)
    await judge.choose("2 + 2?", ["4", "5"], 1)
    await judge.compare("2 + 2?", "4", "5")
    await judge.appraise("2 + 2?", "4", 2)
    rule = json.dumps({"score": "rated", "question": "2 + 2?", "answer": "4"})
    await TaskScorer(ScriptedSandbox(), chat).score(rule, [Submission("1", "four")])


async def test_the_key_of_no_call_has_changed(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "run.db") as store:
        chat = ChatClient(EndpointsSettings(), store, transport=httpx.MockTransport(reply))
        await ask_everything(store, chat)
        await chat.close()
        calls = store.calls()
    assert [(call.role, call.purpose, call.round, call.key) for call in calls] == KEYS
