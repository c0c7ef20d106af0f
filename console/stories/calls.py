"""Calls of one role: a line each, with what it was for, what it used, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from agents.rejections import explained
from console.stories.telling import mark, numbered, one_line, say
from memory.messages import count_of
from memory.records import Call, Draft, Role
from memory.store import RunStore

_SAID = 200
"""Characters of what came of a call."""


def read_uncalled(store: RunStore, role: Role, among: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Assignments in which a role was never called, and what became of them.

    Args:
        store: of the run.
        role: of an agent.
        among: stories of assignments, as read for that role.
    """
    return [
        {
            "assignment": trace["assignment"]["id"],
            "role": role,
            "status": trace["status"],
            "own_program": trace["own_program"],
        }
        for trace in among
        if not trace["calls"]
    ]


def tell_calls(
    found: Mapping[str, list[dict[str, Any]]],
    console: Console,
    limit: int | None = None,
    offset: int = 0,
) -> None:
    """A line for each call.

    Args:
        found: a trace of a role.
        console: where to.
        limit: so many calls; None for all.
        offset: calls that are left out before them.
    """
    calls = [
        (Call.model_validate(call), drafts)
        for trace in found["assignments"]
        for drafts in [{each["round"]: Draft.model_validate(each) for each in trace["rounds"]}]
        for call in trace["calls"]
    ]
    calls += [(Call.model_validate(call), {}) for call in found["calls"]]
    shown = calls[offset:][:limit]
    for call, drafts in shown:
        verdict, outcome = _came_of(call, drafts.get(call.round))
        place = f"{call.assignment}  " if call.assignment else ""
        used = f"{call.model}  {call.tokens_in} in, {call.tokens_out} out  {call.seconds:.1f} s"
        line = f" {place}{call.purpose}, round {call.round}  {used}  {one_line(outcome, _SAID)}"
        say(console, mark(verdict), line)
    if note := numbered(shown, len(calls), offset, "calls"):
        say(console, note, style="dim")
    if not calls:
        return
    of = f" in {count_of(len(found['assignments']), 'assignment')}" if found["assignments"] else ""
    say(
        console,
        f"\n{count_of(len(calls), 'call')}{of}, with tokens and seconds; "
        "prompts and replies: --full",
        style="dim",
    )
    for line in _uncalled_lines(found["uncalled"]):
        say(console, line, style="dim")


def _came_of(call: Call, draft: Draft | None) -> tuple[bool | None, str]:
    """A verdict on what the call gave, and the same in words."""
    if call.error is not None:
        return False, f"failed: {call.error}"
    if call.role == "scientist" and draft is not None:
        if draft.proposal is None:
            return False, f"unreadable: {draft.problem}"
        name, gates = draft.proposal.get("name", ""), draft.gates
        if gates is None:
            return None, f"{name}: it was not tried"
        said = "gates passed" if gates.code is None else f"{explained(gates.code)}: {gates.detail}"
        return gates.passed, f"{name}: {said}"
    if call.purpose == "critique" and draft is not None and draft.critique is not None:
        critique = draft.critique
        accepted = {"accept": True, "reject": False}.get(critique.verdict)
        return accepted, ": ".join([critique.verdict, *filter(None, [" ".join(critique.problems)])])
    return None, call.response or ""


def _uncalled_lines(uncalled: list[dict[str, Any]]) -> list[str]:
    """How many assignments needed no call, and why."""
    if not uncalled:
        return []
    role = uncalled[0]["role"]
    own = sum(each["own_program"] for each in uncalled) if role == "scientist" else 0
    why = f": in {own} the parent's own program was tried at another level" if own else ""
    return [f"{count_of(len(uncalled), 'more assignment')} without a call of the {role}{why}"]
