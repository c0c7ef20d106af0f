"""Full queues, drains, clients that leave: a real server in front of experts that wait for us."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import httpx
import openai
import pytest
import uvicorn

from agents.context import RunContext
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import Collective, CollectiveAnswer
from agents.task_force.methods import Aids, method_named
from agents.task_force.roster import Roster
from console.serving import build_app, streams
from console.serving.guard import Guard
from console.serving.queue import Seats
from console.serving.server import DrainingServer, listen, url_of
from evolution.errors import EngineError
from memory.records import ChatMessage, Sampling


class Context:
    """As much of a run as the routes look at."""

    def render_question(self, instructions: str) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=instructions)]


class Waiting(Collective):
    """Says what it was asked, when it is allowed to."""

    def __init__(self) -> None:
        super().__init__(cast(RunContext, Context()), [], method_named("majority"), Aids())
        self.go = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    async def answer(
        self,
        question: str,
        chat: list[ChatMessage],
        sampling: Sampling,
        seed: int = 0,
        stop: Sequence[str] = (),
        tokens: bool = False,
    ) -> CollectiveAnswer:
        self.begun.append(question)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(question)
            raise
        if question == "fail":
            raise EngineError("the engine is gone")
        said = CandidateAnswer("alpha", question, question, 1, tokens_in=1)
        return CollectiveAnswer(question, "alpha", "majority", 1.0, (said,), (1.0,), (), 0.0)


class Place:
    """A server in this process."""

    def __init__(self, queue: int) -> None:
        self.voice = Waiting()
        self.seats = Seats(queue)
        roster = Roster({"acdc": self.voice}, {})
        app = build_app(cast(RunContext, Context()), roster, self.seats, 8)
        self.listener = listen("127.0.0.1", 0)
        self.ready = asyncio.Event()
        config = uvicorn.Config(
            Guard(app, self.seats, None, 1000), log_level="warning", lifespan="off"
        )
        self.server = DrainingServer(config, self.seats, self.ready.set)
        self.url = url_of(self.listener)
        self.running = asyncio.create_task(self.server.serve([self.listener]))

    def ask(self, question: str = "one", **more: Any) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self._ask(question, more))

    async def _ask(self, question: str, more: dict[str, Any]) -> httpx.Response:
        options = {name: more.pop(name) for name in ("headers", "timeout") if name in more}
        body = {"model": "acdc", "messages": [{"role": "user", "content": question}], **more}
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.post(f"{self.url}/chat/completions", json=body, **options)

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.voice.begun) < count:
                await asyncio.sleep(0.005)

    async def until_empty(self) -> None:
        async with asyncio.timeout(30):
            while self.seats.taken:
                await asyncio.sleep(0.005)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place(queue=3)
    await found.ready.wait()
    yield found
    found.voice.go.set()
    found.server.should_exit = True
    await found.running
    found.listener.close()


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
