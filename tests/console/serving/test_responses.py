"""OpenAI's Responses API: the official client at a real server, in front of experts who repeat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from console.serving import streams
from tests.console.serving.place import Place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place(queue=3)
    await found.ready.wait()
    found.voice.go.set()
    yield found
    await found.end()


def client_of(place: Place) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=place.url, api_key="-", max_retries=0)


async def test_a_response_is_what_the_client_knows(place: Place) -> None:
    reply = await client_of(place).responses.create(
        model="acdc",
        input="What is 12 + 30?",
        instructions="Be brief.",
        max_output_tokens=7,
        temperature=0.5,
        store=True,
        metadata={"mine": "1"},
    )
    assert reply.output_text == "What is 12 + 30?"
    assert (reply.status, reply.error, reply.incomplete_details) == ("completed", None, None)
    assert reply.id.startswith("resp_")
    assert (reply.instructions, reply.temperature) == ("Be brief.", 0.5)
    assert (reply.max_output_tokens, reply.model) == (7, "acdc")
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (
        (1, 1, 2)
    )
    assert (reply.model_extra or {})["store"] is False, "nothing is kept"
    [message] = reply.output
    assert message.type == "message"
    assert (message.status, message.role) == ("completed", "assistant")


async def test_a_conversation_goes_on_with_what_was_replied(place: Place) -> None:
    client = client_of(place)
    first = await client.responses.create(model="acdc", input=[{"role": "user", "content": "one"}])
    sent = [item.model_dump(mode="json") for item in first.output]
    parts = {"role": "user", "content": [{"type": "input_text", "text": "two"}]}
    talk: Any = [{"role": "user", "content": "one"}, *sent, parts]
    second = await client.responses.create(model="acdc", input=talk)
    assert second.output_text == "user: one\n\nassistant: one\n\nuser: two"


async def test_a_stream_of_events_ends_with_the_whole_response(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    stream = await client_of(place).responses.create(model="acdc", input="one", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(9))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    last = events[-1]
    assert last.type == "response.completed"
    assert "".join(deltas) == last.response.output_text == "one"
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == 2
    ids = {event.response.id for event in events if hasattr(event, "response")}
    assert ids == {last.response.id}


async def test_the_clients_own_reader_of_streams_understands_it(place: Place) -> None:
    async with client_of(place).responses.stream(model="acdc", input="one") as stream:
        said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert said == ["one"]
    assert final.output_text == "one"


async def test_what_fails_within_a_stream_is_its_last_event(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    monkeypatch.setattr(streams, "PULSE", 0.02)
    place.voice.go.clear()
    stream = await client_of(place).responses.create(model="acdc", input="fail", stream=True)
    place.voice.go.set()
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    error = events[-1].response.error
    assert error is not None
    assert (error.code, error.message) == ("server_error", "the engine is gone")
    with pytest.raises(openai.InternalServerError, match="the engine is gone"):
        await client_of(place).responses.create(model="acdc", input="fail")


FORM = {"format": {"type": "json_schema", "name": "x", "schema": {}}}
WRONG: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    ({"tools": [{"type": "web_search"}]}, "tools", "unsupported", "tools is not supported"),
    ({"tool_choice": "required"}, "tool_choice", "unsupported", "not supported"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported", "send the conv"),
    ({"conversation": "c"}, "conversation", "unsupported", "nothing is stored"),
    ({"background": True}, "background", "unsupported", "not supported"),
    ({"reasoning": {"effort": "high"}}, "reasoning", "unsupported", "not supported"),
    ({"include": ["reasoning.encrypted_content"]}, "include", "unsupported", "not supported"),
    ({"truncation": "auto"}, "truncation", "unsupported", "not supported"),
    ({"top_logprobs": 2}, "top_logprobs", "unsupported", "not supported"),
    ({"text": FORM}, "text.format", "unsupported", "does not constrain"),
    ({"stop": ["x"]}, "stop", "unknown_parameter", "unknown field"),
    ({"max_output_tokens": 0}, "max_output_tokens", None, "greater than or equal"),
    ({"temperature": 3}, "temperature", None, "less than or equal"),
    ({"input": []}, "input", None, "at least 1"),
    ({"input": " "}, None, None, "not empty"),
    ({"input": 5}, "input", None, "a text or a list of messages"),
    ({"input": [{"role": "assistant", "content": "x"}]}, None, None, "must be a user's"),
    (
        {"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]},
        "input.0",
        None,
        "items of type 'function_call_output' are not supported",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "input.0.content.0",
        None,
        "parts of type 'input_image' are not supported, only 'input_text' and 'output_text'",
    ),
]


@pytest.mark.parametrize(("fault", "param", "code", "says"), WRONG)
async def test_what_cannot_be_done_is_refused_by_name(
    place: Place, fault: dict[str, Any], param: str | None, code: str | None, says: str
) -> None:
    body = {"model": "acdc", "input": "one", **fault}
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{place.url}/responses", json=body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["code"] == code
    assert says in error["message"]
    assert place.voice.begun == []


async def test_what_asks_for_nothing_is_accepted(place: Place) -> None:
    idle = {
        "text": {"format": {"type": "text"}},
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "stream_options": {"include_obfuscation": False},
        "user": "me",
    }
    async with httpx.AsyncClient() as client:
        body = {"model": "acdc", "input": "one", "acdc": {"details": True}, **idle}
        reply = await client.post(f"{place.url}/responses", json=body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["acdc"]["chosen"] == "alpha"
        assert reply.headers["x-acdc-expert"] == "alpha"
        raw = await client.post(f"{place.url}/responses", json={**body, "stream": True})
        assert (await client.get(f"{place.url}/responses/resp_1")).status_code == 404
    for event in raw.text.strip().split("\n\n"):
        kind, data = event.split("\n")
        assert kind == f"event: {json.loads(data.removeprefix('data: '))['type']}"
