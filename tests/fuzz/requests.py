"""What comes over HTTP: requests to `acdc serve` and `acdc view`, replies of model servers.

Requests are the bytes that a client sends: they go through the connection, the guard and the
application that real clients meet, with experts that answer at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from agents.chat.connection import Connection
from agents.chat.endpoints import EndpointSettings
from agents.chat.failures import RefusedRequest, TransientFailure
from agents.config import RunConfig
from agents.context import RunContext
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import Collective, CollectiveAnswer, Manner
from agents.task_force.methods import Aids, method_named
from agents.task_force.roster import Roster
from benchmarks.viewer_run import Size, make_run
from console.serving import routes as serving
from console.serving.door import Door, uvicorn_config
from console.serving.guard import Guard
from console.serving.meters import Meters
from console.serving.observed import Observed
from console.serving.queue import Seats
from console.view import routes as viewing
from console.view.guard import ViewGuard
from console.view.render import Renderer
from console.view.source import find_runs
from evolution.engines.settings import EngineSettings
from memory.records import ChatMessage, Token
from tests.conftest import make_tokenizer
from tests.fuzz.harness import Parser
from tests.fuzz.mutations import HTTP_PIECES, JSON_PIECES, mutated, noise

LARGEST = 1 << 20
TOKEN = "a-token-of-the-tests"


class Wire(asyncio.Transport):
    """The server's end of a connection to a client that has sent all that it will."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 8100)})
        self.sent = b""
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Server:
    """An application behind uvicorn's connection, without a socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._runner = asyncio.Runner()
        self._config = uvicorn_config(app)
        self._config.load()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    def receive(self, data: bytes) -> bytes:
        """What a client gets that sends these bytes and then no more."""
        return self._runner.run(self._exchange(data))

    async def _exchange(self, data: bytes) -> bytes:
        state, wire = ServerState(), Wire()
        connection = Door(self._config, state, {}, _loop=asyncio.get_running_loop())
        connection.connection_made(wire)
        if data:
            connection.data_received(data)
        if state.tasks:
            await asyncio.wait({*state.tasks}, timeout=0.05)
        connection.connection_lost(None)
        if state.tasks:
            async with asyncio.timeout(60):
                await asyncio.wait({*state.tasks})
        assert b"HTTP/1.1 500 " not in wire.sent, wire.sent[-400:]
        return wire.sent


class Prompt(Collective):
    """Answers at once, and says what it was asked."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context, [], method_named("majority"), Aids())

    async def answer(
        self,
        question: str,
        chat: list[ChatMessage],
        manner: Manner,
        seed: int = 0,
        stop: Sequence[str] = (),
        tokens: bool = False,
        patience: float | None = None,
    ) -> CollectiveAnswer:
        spelled = (Token(text="four", logprob=-0.5),) if tokens else None
        said = CandidateAnswer("alpha", "four", "four", 1, tokens_in=1, spelled=spelled)
        return CollectiveAnswer(question, "alpha", 0, "majority", 1.0, (said,), (1.0,), (), 0.0)


class Bank:
    """As much of a bank as the routes look at."""

    tokenizer = make_tokenizer()


class Context:
    """As much of a run as the routes look at, of an engine that constrains replies."""

    config = RunConfig(engine=EngineSettings(kind="vllm"))

    @property
    def population(self) -> Context:
        return self

    async def bank(self) -> Bank:
        return Bank()

    def render_question(self, instructions: str) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=instructions)]


ASKED: dict[str, Any] = {
    "model": "acdc",
    "n": 2,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 3,
    "stop": ["\n"],
    "max_tokens": 8,
    "logprobs": True,
    "acdc": {"details": True},
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]},
    ],
}
STREAMED: dict[str, Any] = {
    "model": "acdc",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 8,
    "user": "me",
    "tools": [],
    "messages": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "And?"},
    ],
}
FORMATTED: dict[str, Any] = {
    "model": "acdc",
    "messages": [{"role": "user", "content": "2 + 2?"}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "sum", "strict": True, "schema": {"type": "object"}},
    },
}
TEXTS = {"model": "acdc", "prompt": ["2 + 2?", "3 + 3?"], "logprobs": 0, "echo": False}
TOKENS = {"model": "acdc", "prompt": [[40, 41], [42]], "stop": "x", "suffix": ""}
BODIES: tuple[tuple[str, bytes], ...] = (
    ("/v1/chat/completions", json.dumps(ASKED).encode()),
    ("/v1/chat/completions", json.dumps(STREAMED).encode()),
    ("/v1/chat/completions", json.dumps(FORMATTED).encode()),
    ("/v1/completions", json.dumps(TEXTS).encode()),
    ("/v1/completions", json.dumps(TOKENS).encode()),
)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request as a client sends it."""
    named = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:8100", *headers]
    if body:
        named += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(named).encode() + b"\r\n\r\n" + body


def posted(path: str, body: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Requests whose body alone is not as it should be."""
    return body.map(lambda content: request("POST", path, content))


def serve_requests(scratch: Path) -> Parser:
    """Requests to `acdc serve`: no reply is a 500."""
    context = cast(RunContext, Context())
    seats = Seats(8)
    meters = Meters(seats, lambda: 0)
    roster = Roster({"acdc": Prompt(context)}, {})
    app = serving.build_app(context, roster, seats, Manner(8), "run-7", meters)
    open_to_all, locked = (
        Server(Observed(Guard(app, seats, token, LARGEST), meters, "run-7", False))
        for token in (None, TOKEN)
    )
    samples = (
        *(request("POST", path, body) for path, body in BODIES),
        request("GET", "/v1/models"),
        request("GET", "/v1/models/acdc", b"", f"Authorization: Bearer {TOKEN}"),
        request("HEAD", "/health"),
    )

    def read(data: bytes) -> None:
        open_to_all.receive(data)
        locked.receive(data)
        assert not seats.taken

    bodies = st.one_of([posted(path, mutated((body,), JSON_PIECES)) for path, body in BODIES])
    return Parser(bodies | mutated(samples, HTTP_PIECES) | noise(), read, samples, 60)


def view_requests(scratch: Path) -> Parser:
    """Requests to `acdc view`: no reply is a 500."""
    make_run(scratch / "made-up", Size(6, 6, 3, children=2, archive=4))
    sources = find_runs([scratch / "made-up"])
    app = viewing.build_app(sources, Renderer(sources))
    open_to_all, locked = Server(ViewGuard(app, None)), Server(ViewGuard(app, TOKEN))
    base = sources[0].base.rstrip("/")
    paths = (
        *(
            "/",
            "/skills?order=name&page=2",
            "/experts?sort=-fitness&q=a",
            "/tasks?format=csv&table=families",
        ),
        *(
            "/answers?expert=e&family=f&passed=1",
            "/lineage?generation=2",
            "/compare?a=x&b=y",
            "/agents?page=1",
        ),
        *(
            "/settings?format=json",
            "/operators",
            "/progress",
            "/embedding",
            "/experts/e-1",
            "/tasks/f-1",
            "/version",
        ),
    )
    samples = (
        *(request("GET", base + path) for path in paths),
        request("GET", "/", b"", f"Cookie: acdc_view_8100={TOKEN}"),
        request("GET", f"{base}/?token={TOKEN}&format=json"),
        request(
            "POST",
            f"{base}/ask",
            b"question=a&n=1&select=majority",
            "Origin: http://127.0.0.1:8100",
        ),
    )

    def read(data: bytes) -> None:
        open_to_all.receive(data)
        locked.receive(data)

    return Parser(mutated(samples, HTTP_PIECES) | noise(), read, samples, 30)


def endpoint_replies(scratch: Path) -> Parser:
    """Replies of a model server: a line with the status, then the body."""
    sent: list[httpx.Response] = []
    transport = httpx.MockTransport(lambda request: sent.pop())
    connection = Connection(EndpointSettings(), "", transport)
    runner = asyncio.Runner()
    payload: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "2 + 2?"}]}
    message = {"role": "assistant", "content": "<think>so</think>4", "reasoning_content": "so"}
    completion = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
    error = {"message": "maximum context length is 8", "param": "top_p", "code": "x"}
    samples = (
        b"200\n" + json.dumps(completion).encode(),
        b"400\n" + json.dumps({"error": error}).encode(),
        b'429\n{"error": {"message": "slow down", "code": 429}}',
        b'200\n{"data": [{"id": "m"}], "error": {"message": "no"}}',
    )

    async def exchange(status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"retry-after", body[:8])]
        for call in (connection.send(payload, 60.0), connection.models()):
            sent[:] = [httpx.Response(status, content=body, headers=headers)]
            try:
                await call
            except (TransientFailure, RefusedRequest) as failure:
                said = str(failure)
                if len(said.splitlines()) > 1:
                    raise ValueError(f"a message of several lines: {said}") from failure

    def read(data: bytes) -> None:
        status, _, body = data.partition(b"\n")
        number = int(status) if status.isdigit() and len(status) == 3 else 200
        runner.run(exchange(max(number, 200), body))

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples, 60)


REQUESTS: dict[str, Callable[[Path], Parser]] = {
    "endpoint-replies": endpoint_replies,
    "serve-requests": serve_requests,
    "view-requests": view_requests,
}
