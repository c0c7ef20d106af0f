"""A real HTTP server that plays a capable scientist: verifiable families on which even random
models sometimes pass, so that skill vectors, selection and resume have something to work on.

Each family wants a reply whose character codes sum up to a given remainder modulo 3. The server is
stateless: the same request always gets the same reply.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOPICS = [
    *("rivers", "castles", "violins", "glaciers", "bakeries", "comets", "lanterns", "orchards"),
    *("tunnels", "falcons", "markets", "harbours", "engines", "meadows", "libraries", "islands"),
]
CODE = """
class TaskFamily:
    @staticmethod
    def get_tasks():
        return {{
            "1": {{"remainder": 1, "text": {first!r}}},
            "2": {{"remainder": 2, "text": {second!r}}},
        }}

    @staticmethod
    def get_instructions(t):
        return t["text"]

    @staticmethod
    def score(t, submission):
        return 1.0 if sum(map(ord, submission)) % 3 == t["remainder"] else 0.0
"""
VERDICT = "The second one has the better form.\nChoice: 2\nScore: 2\nDecision: coherent"
"""To a chooser, a rater, and a judge of gibberish."""


def proposal(seed: str) -> dict[str, Any]:
    """A family about two topics; its texts differ enough to be no duplicates."""
    draw = random.Random(seed)
    here, there = draw.sample(TOPICS, 2)
    number = draw.randrange(10_000)
    return {
        "name": f"{here} and {there} {number}",
        "description": f"Write about {here} beside {there}; character codes decide ({number}).",
        "capability": f"writing about {here}",
        "difficulty": 3,
        "code": CODE.format(
            first=_without_remainder(f"Tell something about {here} {number}"),
            second=_without_remainder(f"Tell something about {there} {number + 1}"),
        ),
        "reference_answers": {"1": "d", "2": "e"},
        "wrong_answers": {"1": ["c", "e"], "2": ["c", "d"]},
        "rated": False,
        "rubric": None,
    }


def _without_remainder(text: str) -> str:
    """The text with a closing mark such that it does not solve its own task."""
    mark = {0: "!", 1: "#", 2: "%"}[sum(map(ord, text)) % 3]  # 33, 35 and 37 modulo 3: 0, 2, 1
    return text + mark


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    """What a capable scientist or critic says; the same to the same request."""
    schema = request.get("response_format", {}).get("json_schema", {}).get("name", "")
    if "Critique" in schema:
        return {"verdict": "accept", "problems": []}
    if "Novelty" in schema:
        return {"decision": "new", "reason": "another topic"}
    return proposal(_fingerprint(request))


def _fingerprint(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)  # type: ignore[attr-defined]
        schema = request.get("response_format", {}).get("json_schema", {})
        reply, seed = (reply_to(request) if schema else VERDICT), _fingerprint(request)
        self._send(
            {
                "id": f"chatcmpl-{seed[:8]}",
                "object": "chat.completion",
                "created": 0,
                "model": "scripted",
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": reply if isinstance(reply, str) else json.dumps(reply),
                        },
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
            }
        )

    def _send(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@contextmanager
def scientist_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The base URL of a running server, and the list of requests that it got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.requests = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server.requests  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
