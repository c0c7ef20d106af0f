"""Why founding waves ended without a family: what befell their assignments, and what to change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import cast, get_args

from agents.chat.endpoints import EndpointSettings, EndpointsSettings
from agents.context import RunContext
from memory.records import Assignment, Call, Rejection, Role
from memory.store import RunStore

_ENOUGH = 0.25
"""The share of the rejected assignments from which on a cause is worth advice."""
_REFUSALS = ("refusal", "content_filter")
_STRONGER = "set a stronger scientist or pool.families"


@dataclass(frozen=True, slots=True)
class _Cause:
    """What an assignment ended with, and what helps."""

    what: str
    advice: str


def explain(context: RunContext, assignments: list[Assignment]) -> str:
    """What the rejected ones of these assignments ended with, and what to change."""
    store, endpoints = context.store, context.config.endpoints
    causes: Counter[_Cause] = Counter()
    for assignment in assignments:
        rejection = store.assignment_status(assignment.id).rejection
        if rejection is not None:
            causes[_cause(store, endpoints, assignment, rejection)] += 1
    total = causes.total()
    ended = ", ".join(f"{count} ended {cause.what}" for cause, count in causes.most_common())
    due = [cause for cause, count in causes.most_common() if count >= _ENOUGH * total]
    advice = "; ".join(dict.fromkeys(cause.advice for cause in due)) or _STRONGER
    told = f"of {total} assignments {ended}; " if total else ""
    return told + advice


def _cause(
    store: RunStore, endpoints: EndpointsSettings, assignment: Assignment, rejection: Rejection
) -> _Cause:
    # Errors of failed calls begin with the role, and so does what was wrong with another's reply.
    first = rejection.detail.partition(":")[0]
    role = cast(Role, first) if first in get_args(Role) else "scientist"
    settings, place = endpoints.of(role), f"endpoints.{role}"
    match rejection.reason:
        case "malformed":
            return _malformed(_last_call(store, assignment, role), role, settings)
        case "endpoint" if "no answer within" in rejection.detail:
            return _Cause(
                f"with a call of the {role} that got no answer in time",
                f"raise {place}.timeout ({settings.timeout:g} s now), or lower {place}.max_tokens",
            )
        case "endpoint":
            return _Cause(
                f"with a call of the {role} that failed", f"look at the server of {place}"
            )
        case "context_length":
            return _Cause(
                f"with a conversation too long for the {role}'s model",
                f"lower {place}.max_tokens, or serve that model with a longer context",
            )
        case "no_rater":
            return _Cause("with a task that no rater was there for", "set endpoints.rater")
        case "critic_reject" | "rounds_exhausted":
            return _Cause("with the critic's no", f"{_STRONGER}, or another critic")
        case "too_hard" | "too_easy" | "levels_gap" | "equal_scores" | "constant_passes":
            return _Cause("with tasks that do not tell the experts apart", _STRONGER)
        case _:
            return _Cause("with a draft that is flawed", _STRONGER)


def _malformed(call: Call | None, role: Role, settings: EndpointSettings) -> _Cause:
    """Why there was no object in a reply."""
    place = f"endpoints.{role}"
    ended = call.finish_reason if call is not None else ""
    if ended == "length":
        limit = settings.max_tokens
        now = "not set now: the server's own holds" if limit is None else f"{limit} now"
        return _Cause(
            f"with a reply of the {role} that was cut off at the token limit",
            f"raise {place}.max_tokens ({now})",
        )
    if ended in _REFUSALS:
        return _Cause(f"with a refusal of the {role}'s model", f"set another model for {place}")
    return _Cause(
        f"with a reply of the {role} that held no such object",
        f"set a stronger {role}" + (" or pool.families" if role == "scientist" else ""),
    )


def _last_call(store: RunStore, assignment: Assignment, role: Role) -> Call | None:
    answered = [c for c in store.calls(role, assignment.id) if c.response is not None]
    return answered[-1] if answered else None
