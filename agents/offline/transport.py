"""The offline scientist as a server: an httpx transport that speaks the chat completions API.

It stands where a network would be, under the same client that real endpoints get, and knows nothing
but the request. Equal requests get equal responses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from agents.offline import prompt_blocks, reviewer, writer
from memory.hashing import json_hash
from memory.records import Json

MODEL = "offline"
_TOKEN = re.compile(r"\w+|[^\w\s]")


class OfflineTransport(httpx.AsyncBaseTransport):
    """Answers `POST .../chat/completions` and `GET .../models`; every other request is refused."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        if request.method == "GET" and path.endswith("/models"):
            return httpx.Response(200, json={"object": "list", "data": [_model()]})
        if request.method == "POST" and path.endswith("/chat/completions"):
            return _complete(json.loads(await request.aread()))
        return _refused(404, f"the offline model has no {request.method} {path}")


def _complete(body: Mapping[str, Any]) -> httpx.Response:
    messages: Sequence[Mapping[str, str]] = body["messages"]
    reply = answer(messages, int(body.get("seed") or 0))
    if reply is None:
        return _refused(
            400, "the offline model plays scientist and critic only; configure an endpoint"
        )
    text = json.dumps(reply, ensure_ascii=False, indent=2)
    asked = sum(_tokens(message["content"]) for message in messages)
    said = _tokens(text)
    return httpx.Response(
        200,
        json={
            "id": f"chatcmpl-{json_hash(dict(body))}",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": asked,
                "completion_tokens": said,
                "total_tokens": asked + said,
            },
        },
    )


def answer(messages: Sequence[Mapping[str, str]], seed: int) -> dict[str, Json] | None:
    """What the offline model says; None to a conversation that it has no part in.

    The part it plays shows in the labelled blocks of the user's messages: a draft asks for a
    critique, a candidate for a verdict on its novelty, an assignment for a family.
    """
    asked = [message["content"] for message in messages if message["role"] == "user"]
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    if not asked:
        return None
    shown = prompt_blocks.blocks(asked[0])
    if prompt_blocks.DRAFT in shown:
        return reviewer.critique(asked[0])
    if prompt_blocks.CANDIDATE in shown:
        return reviewer.novelty(asked[0])
    if prompt_blocks.ASSIGNMENT in shown and said:
        return writer.refine(asked[0], said[-1], asked[-1], seed)
    if prompt_blocks.ASSIGNMENT in shown:
        return writer.propose(asked[0], seed)
    return None


def _model() -> dict[str, Json]:
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "acdc"}


def _refused(status: int, message: str) -> httpx.Response:
    error = {"message": message, "type": "invalid_request_error", "code": None}
    return httpx.Response(status, json={"error": error})


def _tokens(text: str) -> int:
    """A rough count: words and signs."""
    return len(_TOKEN.findall(text))
