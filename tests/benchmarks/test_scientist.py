"""The script of the strong scientist: sound families, told in a conversation, counted in a run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.families.proposal import Proposal
from agents.sandbox import Sandbox, open_sandbox
from agents.settings import GateSettings, SandboxSettings
from agents.trial import run_gates
from benchmarks.scientist import measure, table
from benchmarks.strong_scientist import (
    MOST_WORDS,
    StrongScientist,
    Written,
    criticised,
    serving,
    written_families,
)
from memory.records import Assignment, Draft, GateReport, LevelRate
from memory.store import RunStore
from tests.agents.cases import family
from tests.conftest import anything

SCRIPT = written_families()


def test_the_script_covers_many_fields_with_names_of_their_own() -> None:
    assert len(SCRIPT) >= 24
    assert len({written.field for written in SCRIPT}) >= 14
    assert len({written.proposal.name for written in SCRIPT}) == len(SCRIPT)


@pytest.mark.slow
async def test_all_families_of_the_script_pass_the_gates() -> None:
    settings = SandboxSettings(guests=4, memory_mb=512, preimport=())
    sandbox = open_sandbox(settings, ours=anything)
    reports = await asyncio.gather(*(gated(sandbox, written) for written in SCRIPT))
    await sandbox.close()
    refused = {
        written.proposal.name: (report.code, report.detail)
        for written, report in zip(SCRIPT, reports, strict=True)
        if not report.passed
    }
    assert refused == {}
    assert all(2 <= report.levels <= 5 for report in reports)


async def gated(sandbox: Sandbox, written: Written) -> GateReport:
    return await run_gates(sandbox, written.proposal, GateSettings(), seed=1_234_567)


def prompt(block: str, value: Any) -> dict[str, str]:
    return {"role": "user", "content": f"## {block}\n\n```json\n{json.dumps(value)}\n```\n"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def written(name: str, field: str, **more: str) -> Written:
    proposal = Proposal(
        name=name,
        description="About something.",
        capability=name,
        difficulty=1,
        code="class TaskFamily: ...",
    )
    return Written(proposal, field, **more)


def name_in(reply: str) -> str:
    return str(json.loads(reply)["name"])


def test_an_assignment_gets_a_family_of_its_field_and_keeps_it() -> None:
    scientist = StrongScientist([written("sums", "numbers"), written("plurals", "grammar")])
    asked = prompt("Assignment", {"id": "g0-a00", "field": "grammar"})
    assert name_in(scientist.reply([asked])) == "plurals"
    assert name_in(scientist.reply([asked])) == "plurals"
    other = prompt("Assignment", {"id": "g0-a01", "field": "grammar"})
    assert name_in(scientist.reply([other])) == "sums"
    with pytest.raises(LookupError):
        scientist.reply([prompt("Assignment", {"id": "g0-a02", "field": "grammar"})])


def test_a_refusal_gets_another_form_before_another_family_of_the_field() -> None:
    scientist = StrongScientist(
        [
            written("sums", "numbers"),
            written("products", "numbers"),
            written("short sums", "numbers", instead_of="sums"),
        ]
    )
    asked = prompt("Assignment", {"id": "g0-a00", "field": "numbers"})
    first = scientist.reply([asked])
    second = scientist.reply([asked, said(first), prompt("Gate report", {"code": "too_hard"})])
    third = scientist.reply([asked, said(first), asked, said(second), asked])
    fourth = scientist.reply([asked, *[said(first), asked] * 3])
    names = [name_in(reply) for reply in (first, second, third, fourth)]
    assert names == ["sums", "short sums", "products", "products"]


@pytest.mark.parametrize(
    ("question", "verdict"),
    [
        ("What is 1 + 1? Give one number.", "accept"),
        ("What is 1 + 1?", "refine"),
        ("Give one number. " + "word " * MOST_WORDS, "refine"),
    ],
)
def test_the_critic_states_what_can_be_seen(question: str, verdict: str) -> None:
    shown = {"Draft under review": {}, "Gate report": {"instructions": {"1": question}}}
    assert criticised(shown)["verdict"] == verdict


def test_the_script_is_served_as_chat_completions() -> None:
    scientist = StrongScientist([written("sums", "numbers")])
    with serving(scientist) as url:
        ask = {"messages": [prompt("Assignment", {"id": "g0-a00"})]}
        reply = httpx.post(f"{url}/chat/completions", json=ask).json()
        assert name_in(reply["choices"][0]["message"]["content"]) == "sums"
        assert reply["usage"]["completion_tokens"] > 10
        ask = {"messages": [prompt("Assignment", {"id": "g0-a01"})]}
        assert httpx.post(f"{url}/chat/completions", json=ask).status_code == 400


def test_a_run_is_counted_from_its_records(tmp_path: Path) -> None:
    """Of three assignments one is accepted at once, one after a round, and one not at all."""
    script = [written("family 0", "numbers"), written("family 1", "grammar")]
    with RunStore.open(tmp_path) as store:
        for index in range(3):
            one = Assignment(
                id=f"g0-a{index}", generation=0, index=index, kind="novel", rng_seed=index
            )
            store.put_assignment(one)
        curves = [(LevelRate(level=1, asked=12, passed=p),) for p in (6, 12)]
        for index, rounds in ((0, 1), (1, 2), (2, 1)):
            for number in range(rounds):
                passed = number == index
                gates = GateReport(code=None if passed else "too_hard")
                proposal = script[index % 2].proposal.to_json()
                store.put_draft(
                    Draft(assignment=f"g0-a{index}", round=number, proposal=proposal, gates=gates)
                )
        for index, curve in enumerate(curves):
            changes = {"name": f"family {index}", "curve": curve, "revisions": index}
            store.put_family(family(index).model_copy(update=changes))
    report = measure(tmp_path, script)
    summary = report["summary"]
    assert (summary["assignments"], summary["accepted"]) == (3, 2)
    assert summary["first_drafts_accepted"] == 1
    assert summary["first_drafts_refused"] == {"too_hard": 2}
    assert [row["in_band"] for row in report["rows"]] == [True, False]
    assert summary["outside_the_band"] == 1
    assert not any(goal["met"] for goal in report["goals"])
    assert "MISSED: families outside the band" in table(report)
