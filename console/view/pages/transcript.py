"""What agents and their models said, as sections of a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from agents.chat.structured import parse_object
from console.view.page import Column, Section, Table, Text
from console.view.source import Run
from console.view.words import duration
from memory.messages import count_of
from memory.records import Call, Draft


def transcript(run: Run, assignment: str) -> Iterator[Section]:
    """The rounds of an assignment: what was proposed, tried and criticised."""
    calls = run.store.calls(assignment=assignment)
    drafts = {draft.round: draft for draft in run.store.drafts(assignment)}
    for number in sorted({*drafts, *(call.round for call in calls)}):
        of_round = [call for call in calls if call.round == number]
        for call in of_round:
            if call.role == "scientist":
                yield from said(call)
        if number in drafts:
            yield from _trial(drafts[number])
        for call in of_round:
            if call.role != "scientist":
                yield from said(call)


def said(call: Call) -> Iterator[Section]:
    """One call: what was newly said to the model, and what it replied."""
    note = (
        f"{call.model}, {call.tokens_in:,} tokens in, {call.tokens_out:,} out, "
        f"{duration(call.seconds)}"
    )
    if call.refused:
        note += f"; the endpoint did not take {', '.join(call.refused)}"
    if call.cached:
        note += f"; used again {count_of(call.cached, 'time')}"
    where = f"round {call.round}, {call.purpose}"
    # The turns before the last one were shown with the rounds before.
    for message in call.messages if call.round == 0 else call.messages[-1:]:
        yield Text(f"{message.role} to {call.role} ({where})", message.content, True, "asked")
    if call.reasoning:
        yield Text(f"{call.role} thought ({where})", call.reasoning, True, call.role)
    if call.error:
        yield Text(f"call of {call.role} failed ({where})", call.error, mark="wrong", note=note)
    elif call.response is not None:
        yield from _reply(call, where, note)


class _Object(BaseModel, extra="allow"):
    """Whatever object a model replied with."""


def _reply(call: Call, where: str, note: str) -> Iterator[Section]:
    """A reply as it was sent; an object with lines in it field by field, and code as code."""
    response = call.response or ""
    found, _ = parse_object(response, _Object, truncated=call.finish_reason == "length")
    fields = found.model_extra if found else None
    if not fields:
        yield Text(f"{call.role} replied ({where})", response, mark=call.role, note=note)
        return
    code = fields.pop("code", None)
    lines = "\n".join(f"{name}: {_spelled(value)}" for name, value in fields.items() if value)
    yield Text(f"{call.role} replied ({where})", lines, mark=call.role, note=note)
    if code is not None:
        yield Text(f"{call.role} wrote this program ({where})", str(code), mark=call.role)
    yield Text(f"The same as it was sent ({where})", response, folded=True, mark="asked")


def _spelled(value: Any) -> str:
    """A field of an object; what has several parts has a line for each."""
    match value:
        case dict():
            return "".join(f"\n  {name}: {_spelled(part)}" for name, part in value.items())
        case list():
            return "".join(f"\n  - {_spelled(part)}" for part in value)
        case str():
            return value.replace("\n", "\n    ")
        case _:
            return json.dumps(value)


def _trial(draft: Draft) -> Iterator[Section]:
    lines = []
    if draft.problem:
        lines.append(f"the reply could not be read: {draft.problem}")
    if draft.gates is not None:
        code = "all gates passed" if draft.gates.passed else f"gate {draft.gates.code}"
        lines.append(f"{code}: {draft.gates.detail}" if draft.gates.detail else code)
    for rate in draft.curve:
        by_chance = f", a constant answer {rate.chance:.0%}" if rate.chance else ""
        lines.append(f"level {rate.level}: {rate.passed} of {rate.asked} right{by_chance}")
    if draft.critique is not None:
        lines.append(f"critic: {draft.critique.verdict}")
        lines += [f"- {problem}" for problem in draft.critique.problems]
    if lines:
        yield Text(f"Gates and trial (round {draft.round})", "\n".join(lines), mark="trial")
    if draft.answers:
        yield Table(
            f"trial{draft.round}",
            f"Answers of the trial panel (round {draft.round})",
            [
                Column("expert", "expert", to="experts/{expert}"),
                Column("level", "level", "count"),
                Column("question", "question"),
                Column("reference", "a right answer", "code"),
                Column("extracted", "answer", "code"),
                Column("passed", "verdict", "verdict"),
            ],
            [answer.model_dump(exclude={"text"}) for answer in draft.answers],
        )
