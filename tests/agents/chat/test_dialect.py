"""Servers that do not take every parameter: how they say so, and how they are asked then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.errors import EndpointError
from memory.store import RunStore
from tests.agents.chat.chat_cases import GOOD, QUESTION, Serve, critique, opened
from tests.agents.chat.scripted_server import Act, Body, Fail, Raw, Say

OPTIONAL = ("temperature", "top_p", "max_tokens", "seed")


def refusal(body: Any, status: int = 400) -> Raw:
    return Raw(json.dumps(body).encode(), status=status)


def openai(message: str, param: str | None = None, code: str | None = None) -> Raw:
    kind = "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return refusal({"error": error})


def pydantic(name: str, body: Body) -> list[dict[str, Any]]:
    """As FastAPI has it; the input of the second complaint is the whole request."""
    extra = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs", "input": 1}
    return [extra, {"type": "value_error", "loc": ["body", name], "msg": "no", "input": body}]


Refuse = Callable[[str, Body], Act]
SHAPES: dict[str, Refuse] = {
    "openai, a value": lambda name, body: openai(
        f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the "
        "default value is supported; temperature, top_p, seed and max_tokens are documented.",
        name,
        "unsupported_value",
    ),
    "openai, a parameter": lambda name, body: openai(
        f"Unsupported parameter: '{name}' is not supported with this model.",
        name,
        "unsupported_parameter",
    ),
    "anthropic": lambda name, body: refusal(
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": f"`{name}` is deprecated for this model.",
            },
        }
    ),
    "vllm": lambda name, body: refusal(
        {
            "object": "error",
            "message": f"{name} is not supported by this model",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    ),
    "litellm, which lists what there is": lambda name, body: refusal(
        {
            "error": {
                "message": f"model does not support parameters: ['{name}']. Known are: model, "
                "messages, seed, max_tokens, temperature, top_p.",
                "type": "None",
                "param": "None",
                "code": "400",
            }
        }
    ),
    "fastapi": lambda name, body: refusal({"detail": pydantic(name, body)}, 422),
    "mistral": lambda name, body: refusal(
        {"object": "error", "message": {"detail": pydantic(name, body)}, "param": None}, 422
    ),
    "text generation inference": lambda name, body: refusal(
        {"error": f"Input validation error: `{name}` must be left out", "error_type": "validation"},
        422,
    ),
    "google": lambda name, body: refusal(
        [{"error": {"code": 400, "message": f'Invalid JSON payload. Unknown name "{name}"'}}]
    ),
}


def choosy(refuse: Refuse, *disliked: str) -> Callable[[Body], Act]:
    def act(body: Body) -> Act:
        found = next((name for name in disliked if name in body), None)
        return Say(GOOD) if found is None else refuse(found, body)

    return act


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_a_server_refuses_by_name_is_left_out_and_remembered(
    store: RunStore, serve: Serve, shape: str, name: str
) -> None:
    server = serve(choosy(SHAPES[shape], name))
    async with opened(store, server.url) as client:
        calls = [await critique(client, sample=sample) for sample in range(2)]
    first, *later = server.requests
    assert len(later) <= 3, "one refusal, or two where a text names others too"
    last = later[-1]
    assert name not in last
    assert ("max_completion_tokens" in last) == (name == "max_tokens")
    kept = set(OPTIONAL) - {name, "top_p"}
    assert {key: last[key] for key in kept} == {key: first[key] for key in kept}
    assert last["response_format"] == first["response_format"]
    for call in map(store.call, (each.call_key for each in calls)):
        assert call is not None
        assert call.attempts == 1
        assert name in call.refused
        assert call.response == GOOD


async def test_of_two_that_exclude_each_other_one_stays(store: RunStore, serve: Serve) -> None:
    def act(body: Body) -> Act:
        if {"temperature", "top_p"} <= body.keys():
            return openai("`temperature` and `top_p` cannot both be specified for this model.")
        return Say(GOOD)

    server = serve(act)
    async with opened(store, server.url) as client:
        await critique(client)
    assert len(server.requests) == 2
    assert server.requests[1]["temperature"] == 0.7


async def test_a_server_that_takes_nothing_optional_is_asked_with_nothing(
    store: RunStore, serve: Serve
) -> None:
    disliked = ("response_format", "temperature", "top_p", "seed", "max_tokens")
    server = serve(choosy(SHAPES["openai, a parameter"], *disliked))
    async with opened(store, server.url) as client:
        for sample in range(3):
            assert (await critique(client, sample=sample)).parsed is not None
    assert server.requests[-1].keys() == {"model", "messages", "max_completion_tokens"}
    assert len(server.requests) == 7 + 2, "six refusals, then none"


async def test_a_server_that_is_never_content_is_not_asked_for_ever(
    store: RunStore, serve: Serve
) -> None:
    words = "temperature, top_p, seed, max_tokens, max_completion_tokens, response_format: no"
    server = serve(lambda body: openai(words))
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="response_format: no"):
            await critique(client)
        first = server.requests[0]
        asked = len(server.requests)
        with pytest.raises(EndpointError):
            await critique(client, sample=1)
    assert asked <= 7
    assert server.requests[asked] == first, "nothing was learned from it"


async def test_a_limit_that_is_too_high_is_named_with_its_setting(
    store: RunStore, serve: Serve
) -> None:
    def act(body: Body) -> Act:
        name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        return openai(f"{name} is too large: 4096. This model takes 1024.", name, "invalid_value")

    server = serve(act)
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match=r"takes 1024\.; set endpoints\.critic\.max_tokens"):
            await critique(client)


async def test_another_parameter_of_that_name_is_not_meant(store: RunStore, serve: Serve) -> None:
    """A refusal that names its parameter is about that one, whatever its text mentions."""

    def act(body: Body) -> Act:
        if "response_format" in body:
            return openai("schema: 'temperature' is no property", "response_format.json_schema")
        return Say(GOOD)

    server = serve(act)
    async with opened(store, server.url) as client:
        await critique(client)
    assert server.requests[-1]["temperature"] == 0.7


async def test_what_was_refused_is_not_sent_again_in_the_next_attempt(
    store: RunStore, serve: Serve
) -> None:
    server = serve([openai("no", "temperature"), Fail(500), Say(GOOD)])
    async with opened(store, server.url) as client:
        completion = await critique(client)
    assert ["temperature" in body for body in server.requests] == [True, False, False]
    call = store.call(completion.call_key)
    assert call is not None
    assert call.attempts == 2


async def test_calls_at_one_time_remember_together(store: RunStore, serve: Serve) -> None:
    """Each finds out something else, and the one that ends last must not forget the other's."""

    def act(body: Body) -> Act:
        if "seed" in body:
            return openai("no", "seed")
        if body.get("response_format", {}).get("type") == "json_schema":
            return openai("no", "response_format")
        return Say(GOOD, after=0.0 if "response_format" in body else 0.3)

    server = serve(act)
    async with opened(store, server.url) as client:
        free = client.complete("rater", "rate", QUESTION, None, assignment=None, seed=3)
        await asyncio.gather(critique(client), free)
        asked = len(server.requests)
        await critique(client, sample=1)
    assert len(server.requests) == asked + 1


async def test_a_call_keeps_its_key_whatever_the_server_takes(tmp_path: Path, serve: Serve) -> None:
    keys = set()
    for name in ("plain", *OPTIONAL):
        server = serve(choosy(SHAPES["openai, a parameter"], name))
        with RunStore.open(tmp_path / name) as store:
            async with opened(store, server.url) as client:
                keys.add((await critique(client)).call_key)
    assert len(keys) == 1


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens"])
async def test_what_is_unset_is_not_sent(store: RunStore, serve: Serve, name: str) -> None:
    server = serve(lambda body: Say(GOOD))
    async with opened(store, server.url, **{name: "unset"}) as client:
        await critique(client)
        await client.check("critic")
    sent = {"temperature", "top_p", "max_tokens"} - {name}
    for body in server.requests:
        assert body.keys() & {*OPTIONAL, "max_completion_tokens"} - {"seed"} == sent


CUT_SHORT = (
    "Could not finish the message because max_tokens or model output limit was reached. Please "
    "try again with higher max_tokens."
)


async def test_a_model_that_comes_to_its_limit_with_an_error_is_one_that_was_cut_off(
    store: RunStore, serve: Serve
) -> None:
    server = serve([openai(CUT_SHORT)])
    async with opened(store, server.url) as client:
        completion = await critique(client)
        assert await critique(client) == completion
    assert "ended at the token limit" in (completion.problem or "")
    call = store.call(completion.call_key)
    assert call is not None
    assert call.finish_reason == "length"


@pytest.mark.parametrize(
    "act",
    [
        openai(CUT_SHORT),
        openai(CUT_SHORT, "max_tokens"),
        openai("Invalid 'max_tokens': integer below minimum value. Expected >= 16.", "max_tokens"),
        refusal({"detail": pydantic("max_tokens", {})}, 422),
        refusal({"error": "max_tokens must be at least 16"}),
    ],
    ids=str,
)
async def test_a_server_that_finds_one_token_too_few_is_there(
    store: RunStore, serve: Serve, act: Raw
) -> None:
    server = serve(lambda body: act)
    async with opened(store, server.url) as client:
        found = await client.check("critic")
    assert found.seconds > 0


@pytest.mark.parametrize(
    "act", [openai("rude question"), Fail(401, "max_tokens"), Fail(404, "max_tokens")], ids=str
)
async def test_other_refusals_of_a_probe_are_no_sign_of_life(
    store: RunStore, serve: Serve, act: Act
) -> None:
    server = serve(lambda body: act)
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError):
            await client.check("critic")
