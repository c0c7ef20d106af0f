"""A real HTTP server on a free port that plays a script: one act for each chat request."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Say:
    """A well-formed completion."""

    content: str | None = "hello"
    finish: str = "stop"
    usage: tuple[int, int] | None = (7, 5)
    message: Mapping[str, Any] = field(default_factory=dict)
    after: float = 0.0

    def body(self) -> Body:
        body: Body = {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": self.finish,
                    "message": {"role": "assistant", "content": self.content, **self.message},
                }
            ],
        }
        if self.usage:
            tokens_in, tokens_out = self.usage
            body["usage"] = {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            }
        return body


@dataclass(frozen=True)
class Fail:
    """An error status with a body of OpenAI's shape."""

    status: int
    message: str = "no"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Any bytes, with any status."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True)
class Hang:
    """No answer until the server is closed."""


@dataclass(frozen=True)
class Trickle:
    """Headers and then a byte now and then, without end."""


@dataclass(frozen=True)
class Cut:
    """A connection that ends in the middle of the body."""


Act = Say | Fail | Raw | Hang | Trickle | Cut
Script = list[Act] | Callable[[Body], Act]


class ScriptedServer:
    """Plays acts in order, or asks a function for the act that fits a request."""

    def __init__(self, script: Script, models: list[str] | None) -> None:
        self._script = script
        self._models = models
        self._guard = threading.Lock()
        self._under_way = 0
        self.most_under_way = 0
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    @contextmanager
    def next_act(self, body: Body, headers: Mapping[str, str]) -> Iterator[Act]:
        with self._guard:
            self.requests.append(body)
            self.headers.append({key.lower(): value for key, value in headers.items()})
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            act = self._script(body) if callable(self._script) else self._script.pop(0)
        try:
            yield act
        finally:
            with self._guard:
                self._under_way -= 1

    @property
    def models(self) -> Body | None:
        if self._models is None:
            return None
        return {"object": "list", "data": [{"id": name} for name in self._models]}


class _Handler(BaseHTTPRequestHandler):
    owner: ScriptedServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        models = self.owner.models if self.path == "/v1/models" else None
        if models is None:
            self._send(404, {"error": {"message": "no such page"}})
        else:
            self._send(200, models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, {"detail": "Not Found"})
            return
        with self.owner.next_act(body, dict(self.headers.items())) as act:
            self._play(act)

    def _play(self, act: Act) -> None:
        match act:
            case Say():
                self.owner.closing.wait(act.after)
                self._send(200, act.body())
            case Fail():
                error = {"message": act.message, "code": act.code}
                self._send(act.status, {"error": error}, act.headers)
            case Raw():
                self._send_bytes(act.status, act.body, {"Content-Type": act.content_type})
            case Hang():
                self.owner.closing.wait()
                self._cut()
            case Trickle():
                self._trickle()
            case Cut():
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": "c1", "choices": [')
                self._cut()

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        try:
            while not self.owner.closing.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            self.close_connection = True

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: Body, headers: Mapping[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._send_bytes(status, json.dumps(body).encode(), headers)

    def _send_bytes(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
