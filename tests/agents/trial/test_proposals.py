"""Proposals as strong models write them, good and flawed, each with the verdict that it deserves.

Gates decide on all but the kinds that only a reader can judge; of those it is tested that a critic
is shown all that it needs. They are listed in `CRITICS`.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.chat.client import messages_of
from agents.chat.structured import parse_object
from agents.critic.critique import shown_to_critic
from agents.families.proposal import Proposal
from agents.sandbox import Sandbox, Submission, open_sandbox
from agents.settings import CalibrationSettings, GateSettings, SandboxSettings
from agents.trial import run_gates
from agents.trial.clock import years_later
from memory.records import Assignment, Draft, TrialAnswer
from memory.store import RunStore
from prompts import PromptLibrary
from tests.conftest import anything

FOLDER = Path(__file__).parent / "proposals"
FILES = sorted(FOLDER.glob("*/*.toml"))
CRITICS = {
    "ambiguous-question",
    "injection-to-the-critic",
    "off-by-one-in-the-checker",
    "two-correct-answers",
}
FIELDS = {"mathematics", "code", "language", "logic", "knowledge"}


def read(file: Path) -> tuple[Proposal, dict[str, Any]]:
    """The proposal by way of the JSON in which a model sends it, and what we know of it."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    known = {key: content.pop(key) for key in ("field", "verdict")}
    proposal, problem = parse_object(json.dumps(content), Proposal, truncated=False)
    assert proposal is not None, problem
    return proposal, known


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(seconds=2, guests=1, preimport=()), ours=anything)
    yield opened
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path) as opened:
        yield opened


def test_the_collection_is_wide() -> None:
    verdicts = Counter(file.parent.name for file in FILES)
    assert verdicts["good"] >= 15
    assert verdicts["flawed"] + verdicts["critic"] >= 15
    for folder in ("good", "flawed"):
        fields = Counter(read(file)[1]["field"] for file in FOLDER.glob(f"{folder}/*"))
        assert set(fields) == FIELDS, folder
        assert min(fields.values()) >= 2, folder
    assert {file.stem for file in FOLDER.glob("critic/*")} == CRITICS


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_gates_give_each_proposal_the_verdict_that_it_deserves(
    sandbox: Sandbox, file: Path
) -> None:
    proposal, known = read(file)
    report = await run_gates(sandbox, proposal, GateSettings())
    wanted = None if known["verdict"] in ("accepted", "critic") else known["verdict"]
    assert report.code == wanted, report
    assert (report.detail == "") == report.passed
    if report.passed:
        assert sorted(report.instructions) == ["1", "2"]


@pytest.mark.parametrize("name", sorted(CRITICS))
async def test_a_critic_sees_what_it_needs_to_find_what_gates_cannot(
    sandbox: Sandbox, store: RunStore, name: str
) -> None:
    proposal, _ = read(FOLDER / "critic" / f"{name}.toml")
    gates = await run_gates(sandbox, proposal, GateSettings())
    references = proposal.references
    answers = tuple(
        TrialAnswer(
            expert=expert,
            instance=instance,
            text=f"I, {expert}, thought.\nAnswer: {said}",
            extracted=said,
            passed=said == (references[instance]),
        )
        for expert, said in (("words", "13"), ("logic", "29"), ("numbers", references["1"]))
        for instance in ("1", "2")
    )
    assignment = Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=1)
    draft = Draft(
        assignment="g0-a00",
        round=0,
        proposal=proposal.to_json(),
        gates=gates,
        answers=answers,
    )
    shown = shown_to_critic(store, assignment, draft, rule=CalibrationSettings())
    system, asked = messages_of(PromptLibrary().render("critique", **shown))
    assert (system.role, asked.role) == ("system", "user")
    assert proposal.code.strip() in asked.content
    blocks = dict(re.findall(r"^## ([^\n]+)\n\n`+json\n(.*?)\n`+$", asked.content, re.M | re.S))
    assert json.loads(blocks["Gate report"])["instructions"] == gates.instructions
    answered = json.loads(blocks["Answers of current models"])
    assert {answer["expert"] for answer in answered} == {"words", "logic", "numbers"}
    assert [(a["text"], a["passed"]) for a in answered] == [(a.text, a.passed) for a in answers]
    drafted = json.loads(blocks["Draft under review"])
    assert drafted["reference_answers"] == references
    for duty in ("Solve both instances yourself", "exactly one right answer", "never instructions"):
        assert duty in " ".join(system.content.split())


async def test_a_program_sees_every_clock_years_ahead(sandbox: Sandbox) -> None:
    code = """
from __future__ import annotations
import datetime, time
from datetime import date, datetime as moment

class TaskFamily:
    @staticmethod
    def get_tasks(): return {"1": 1, "2": 2}
    @staticmethod
    def get_instructions(t): return f"Number {t}?"
    @staticmethod
    def score(t, submission):
        years = {
            time.gmtime().tm_year, time.localtime(time.time_ns() // 10**9).tm_year,
            int(time.strftime("%Y")), int(time.ctime()[-4:]), int(time.asctime()[-4:]),
            date.today().year, moment.now().year, moment.today().year, moment.utcnow().year,
            moment.now(datetime.timezone.utc).year,
            time.gmtime(time.clock_gettime(time.CLOCK_REALTIME)).tm_year,
            time.gmtime(time.clock_gettime_ns(time.CLOCK_REALTIME) // 10**9).tm_year,
        }
        assert isinstance(moment(2000, 1, 2), date) and isinstance(moment.now(), moment)
        assert moment.now() - datetime.timedelta(days=1) < moment.now()
        if submission == "fail": raise RuntimeError("here")
        return float(max(years) - min(years) <= 1 and max(years) >= int(submission))
"""
    plain = await sandbox.score(code, [Submission("1", "2045")])
    later = await sandbox.score(years_later(code), [Submission("1", "2045")])
    assert [score.value for score in plain + later] == [0.0, 1.0]
    (failed,) = await sandbox.score(years_later(code), [Submission("1", "fail")])
    assert failed.fault is not None
    assert "(task.py line 23, in score)" in failed.fault.detail


async def test_years_ahead_it_is_another_hour_too(sandbox: Sandbox) -> None:
    """A scorer that keeps office hours would else look the same."""
    code = """
import time

class TaskFamily:
    @staticmethod
    def get_tasks(): return {"1": 1, "2": 2}
    @staticmethod
    def get_instructions(t): return f"Number {t}?"
    @staticmethod
    def score(t, submission): return float((time.time() - float(submission)) // 3600 % 24)
"""
    now = Submission("1", str(time.time()))
    hours = [*await sandbox.score(code, [now]), *await sandbox.score(years_later(code), [now])]
    assert [score.value for score in hours] == [0.0, 11.0]
