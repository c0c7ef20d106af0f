"""Full queues, drains, clients that leave: a real server in front of experts that wait for us."""

from __future__ import annotations

import asyncio
import json
import signal
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
    yield found
    await found.end()


async def test_more_than_the_queue_holds_is_told_when_to_come_again(place: Place) -> None:
    accepted = [place.ask(f"q{number}") for number in range(3)]
    await place.until_begun(3)
    refused = await place.ask("one too many")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_full"
    place.voice.go.set()
    replies = [await request for request in accepted]
    assert [r.json()["choices"][0]["message"]["content"] for r in replies] == ["q0", "q1", "q2"]
    assert (await place.ask("again")).status_code == 200, "a seat is free again"
    assert "one too many" not in place.voice.begun


async def test_a_drain_answers_what_was_accepted_and_refuses_what_comes(place: Place) -> None:
    whole = place.ask("whole")
    stream = place.ask("stream", stream=True)
    await place.until_begun(2)
    place.server.handle_exit(signal.SIGTERM, None)
    refused = await place.ask("late")
    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert refused.json()["error"]["code"] == "shutting_down"
    health = httpx.AsyncClient()
    state = await health.get(place.url.replace("/v1", "/health"))
    assert (state.status_code, state.json()) == (503, {"status": "draining", "waiting": 2})
    await health.aclose()
    assert not place.running.done()
    place.voice.go.set()
    assert (await whole).json()["choices"][0]["message"]["content"] == "whole"
    assert (await stream).text.endswith("data: [DONE]\n\n")
    await asyncio.wait_for(place.running, 30)
    with pytest.raises(httpx.ConnectError):
        await place.ask("too late")


async def test_a_second_signal_ends_at_once(place: Place) -> None:
    hanging = place.ask("hanging")
    await place.until_begun(1)
    for _ in range(2):
        place.server.handle_exit(signal.SIGINT, None)
    await asyncio.wait_for(place.running, 30)
    await place.until_empty()
    assert place.voice.cancelled == ["hanging"], "the engine does not go on for nobody"
    hanging.cancel()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("headers_sent", [False, True])
async def test_a_client_that_leaves_cancels_its_work(
    place: Place, stream: bool, headers_sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if headers_sent:
        monkeypatch.setattr(streams, "PATIENCE", 0.01)
    staying = place.ask("staying")
    await place.until_begun(1)
    leaving = place.ask("leaving", stream=stream, n=2, temperature=1.0)
    await place.until_begun(3)
    if headers_sent:
        await asyncio.sleep(0.1)
    leaving.cancel()
    async with asyncio.timeout(30):
        while place.seats.taken > 1 or len(place.voice.cancelled) < 2:
            await asyncio.sleep(0.005)
    assert place.voice.cancelled == ["leaving", "leaving"]
    place.voice.go.set()
    assert (await staying).status_code == 200


async def test_a_stream_that_waits_is_kept_alive_and_tells_a_late_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    monkeypatch.setattr(streams, "PULSE", 0.02)
    client = openai.AsyncOpenAI(base_url=place.url, api_key="-", max_retries=0)
    asked: dict[str, Any] = {"model": "acdc", "stream": True}
    stream = await client.chat.completions.create(
        **asked, messages=[{"role": "user", "content": "fail"}]
    )
    place.voice.go.set()
    with pytest.raises(openai.APIError, match="the engine is gone"):
        async for _ in stream:
            pass
    place.voice.go.clear()
    body = {**asked, "messages": [{"role": "user", "content": "slow"}]}
    async with (
        httpx.AsyncClient(timeout=30) as bare,
        bare.stream("POST", f"{place.url}/chat/completions", json=body) as reply,
    ):
        lines = reply.aiter_lines()
        assert await anext(lines) == ": the experts are answering"
        place.voice.go.set()
        rest = [line async for line in lines]
    events = [line for line in rest if line.startswith("data: {")]
    said = [json.loads(event[6:])["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(said) == "slow"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_early_error_has_its_own_status(place: Place, stream: bool) -> None:
    place.voice.go.set()
    reply = await place.ask("fail", stream=stream)
    assert reply.status_code == 500
    error = reply.json()["error"]
    assert (error["type"], error["message"]) == ("server_error", "the engine is gone")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("localhost:9", 200),
        ("[::1]:80", 200),
        ("127.8.8.8", 200),
    ],
)
async def test_a_web_page_cannot_pass_for_the_loopback(
    place: Place, host: str, status: int
) -> None:
    place.voice.go.set()
    assert (await place.ask(headers={"Host": host})).status_code == status


async def test_a_plain_form_of_a_web_page_is_not_read(place: Place) -> None:
    body = json.dumps({"model": "acdc", "prompt": "one"})
    async with httpx.AsyncClient() as client:
        reply = await client.post(
            f"{place.url}/completions", content=body, headers={"Content-Type": "text/plain"}
        )
    assert reply.status_code == 400
    assert place.voice.begun == []
