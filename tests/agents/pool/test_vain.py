"""A founding that comes to nothing says what happened, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.chat.endpoints import EndpointsSettings
from agents.config import RunConfig
from agents.context import RunContext
from agents.errors import ContextLengthError, EndpointError, JudgingError
from agents.pool.assignments import open_founding_wave, require_families
from agents.settings import PoolSettings
from memory.records import Assignment, Call, Rejection, Role
from memory.store import RunStore
from tests.agents.cases import run_context

URL = "http://localhost:1/v1"
STRONGER = "set a stronger scientist or pool.families"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    scientist = {"base_url": URL, "model": "m", "max_tokens": 16, "timeout": 7}
    config = RunConfig(
        pool=PoolSettings(capacity=4, founding_waves=1),
        endpoints=EndpointsSettings.model_validate({"scientist": scientist}),
    )
    with RunStore.open(tmp_path) as store:
        yield run_context(store, config)


Fate = Callable[[RunContext, Assignment], Rejection]


def said(ended: str, role: Role = "scientist") -> Fate:
    """A reply without an object; an earlier one ended in another way."""

    def fate(run: RunContext, assignment: Assignment) -> Rejection:
        for number, finish in enumerate(("stop", ended)):
            call = Call(
                key=f"{assignment.id}-{role}-{number}",
                role=role,
                purpose="propose",
                model="m",
                endpoint=URL,
                assignment=assignment.id,
                round=number,
                messages=(),
                response="hm",
                finish_reason=finish,
            )
            run.store.put_call(call)
        problem = "The reply holds no complete JSON object."
        detail = problem if role == "scientist" else f"{role}: {problem}"
        return Rejection(reason="malformed", detail=detail)

    return fate


def failed(reason: Any, error: Exception | str = "") -> Fate:
    return lambda run, assignment: Rejection(reason=reason, detail=str(error))


def late(role: Role) -> EndpointError:
    return EndpointError(role, URL, "m", "no answer within 7 s", "check that it is up", 2)


CUT_OFF = "with a reply of the scientist that was cut off at the token limit"
CASES: list[tuple[Fate, str, str]] = [
    (said("length"), CUT_OFF, "raise endpoints.scientist.max_tokens (16 now)"),
    (
        said("length", "critic"),
        "with a reply of the critic that was cut off at the token limit",
        "raise endpoints.critic.max_tokens (16 now)",
    ),
    (said("stop"), "with a reply of the scientist that held no such object", STRONGER),
    (said("refusal"), "with a refusal of the scientist's model", "another model"),
    (
        failed("endpoint", late("scientist")),
        "with a call of the scientist that got no answer in time",
        "raise endpoints.scientist.timeout (7 s now)",
    ),
    (
        failed("endpoint", late("rater")),
        "with a call of the rater that got no answer in time",
        "raise endpoints.rater.timeout (7 s now)",
    ),
    (
        failed("endpoint", EndpointError("critic", URL, "m", "HTTP 500: no", "look", 5)),
        "with a call of the critic that failed",
        "look at the server of endpoints.critic",
    ),
    (
        failed("context_length", ContextLengthError("critic", URL, "m", "too long")),
        "with a conversation too long for the critic's model",
        "lower endpoints.critic.max_tokens",
    ),
    (failed("no_rater"), "with a task that no rater was there for", "set endpoints.rater"),
    (failed("critic_reject", "Dull."), "with the critic's no", "or another critic"),
    (failed("wrong_passes"), "with a draft that is flawed", STRONGER),
]


def end(run: RunContext, fates: list[Fate]) -> tuple[int, str]:
    """One founding whose assignments share these fates in turn; how many, and what it says."""
    open_founding_wave(run)
    waiting = run.store.assignments(0, "open")
    for number, assignment in enumerate(waiting):
        rejection = fates[number % len(fates)](run, assignment)
        run.store.finish_assignment(assignment.id, "rejected", rejection)
    with pytest.raises(JudgingError, match="no family was accepted") as caught:
        require_families(run)
    return len(waiting), str(caught.value)


@pytest.mark.parametrize(("fate", "what", "advice"), CASES)
def test_the_message_says_what_happened_and_what_helps(
    run: RunContext, fate: Fate, what: str, advice: str
) -> None:
    count, line = end(run, [fate])
    assert f"of {count} assignments {count} ended {what}; " in line
    assert advice in line
    assert "\n" not in line
    if advice != STRONGER and advice not in "or another critic":
        assert "stronger" not in line


def test_several_causes_are_counted_and_rare_ones_get_no_advice(run: RunContext) -> None:
    fates = [said("length"), said("length"), failed("endpoint", late("critic")), said("length")]
    count, line = end(run, [*fates, said("length"), failed("leaked")])
    assert count == 6
    assert f"of 6 assignments 4 ended {CUT_OFF}, 1 ended with a call of the critic" in line
    assert "scientist.max_tokens" in line
    assert "timeout" not in line
    assert "stronger" not in line


def test_a_second_founding_tells_of_itself_alone(run: RunContext) -> None:
    end(run, [said("length")])
    count, line = end(run, [failed("leaked")])
    assert "no family was accepted in 2 founding waves" in line
    assert f"of {count} assignments {count} ended with a draft that is flawed; {STRONGER}" in line


def test_a_limit_that_is_not_set_is_told_as_the_servers(run: RunContext) -> None:
    scientist = {"base_url": URL, "model": "m", "max_tokens": "unset"}
    endpoints = EndpointsSettings.model_validate({"scientist": scientist})
    run.config = run.config.model_copy(update={"endpoints": endpoints})
    _, line = end(run, [said("length")])
    assert "raise endpoints.scientist.max_tokens (not set now: the server's own holds)" in line
