"""Replies as one object or as server-sent events; a client that leaves cancels its work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from console.serving.choices import Chosen, Work
from console.serving.failures import of_error
from console.serving.observed import CLIENT_GONE, exchange_of
from console.serving.replies import Form
from memory.errors import AcdcError

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds for which a stream waits for its first choice before it sends headers: an error until
then has its own status; later it is an event of the stream."""
PULSE = 10.0
"""Seconds between comments in a stream that waits, so that nothing between closes it."""


async def as_object(request: Request, work: Work, form: Form) -> Response:
    """All choices in one object.

    Raises:
        AcdcError: a choice came to nothing.
    """
    try:
        choices = await _unless_gone(request, work.all())
    finally:
        work.stop()
    if choices is None:
        return Response(status_code=CLIENT_GONE)
    return JSONResponse(form.whole(choices), headers=work.headers())


async def as_stream(request: Request, work: Work, form: Form) -> Response:
    """Each choice as soon as it is made: a best-of-N answer is known when all N have answered.

    Raises:
        AcdcError: a choice came to nothing before anything was sent.
    """
    begun = False
    try:
        begun = await _unless_gone(request, _true_after(work.first(PATIENCE))) is not None
    finally:
        if not begun:
            work.stop()
    if not begun:
        return Response(status_code=CLIENT_GONE)
    return _Stream(_events(request, work, form), work)


class _Stream(StreamingResponse):
    """Server-sent events; however it ends, its work ends with it."""

    def __init__(self, events: AsyncIterator[str], work: Work) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **work.headers()}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._work.stop()


async def _events(request: Request, work: Work, form: Form) -> AsyncIterator[str]:
    made: list[Chosen] = []
    for chunk in form.begun():
        yield _event(chunk)
    try:
        async for chosen in work.choices(PULSE):
            if chosen is None:
                yield ": the experts are answering\n\n"
                continue
            made.append(chosen)
            for chunk in form.chunks(chosen):
                yield _event(chunk)
    except AcdcError as error:
        refusal = of_error(error)
        exchange_of(request).status = refusal.status
        for chunk in form.failed(refusal):
            yield _event(chunk)
        return
    for chunk in form.ended(made):
        yield _event(chunk)
    if form.sentinel:
        yield "data: [DONE]\n\n"


def _event(chunk: dict[str, Any]) -> str:
    # In ASCII: some clients take other line separators, as U+2028, for the end of an event's line,
    # and no character can be torn apart between two packets.
    named = f"event: {chunk['type']}\n" if "type" in chunk else ""
    return f"{named}data: {json.dumps(chunk)}\n\n"


async def _true_after(work: Coroutine[Any, Any, None]) -> bool:
    await work
    return True


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of some work, or None if the client leaves before it is there."""
    doing = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    # The body was read to its end: all that can still come is the news that the client is gone.
    while (await request.receive())["type"] != "http.disconnect":
        pass
