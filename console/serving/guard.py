"""Who may come in: host, bearer token, size of the body, a free seat."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.serving.address import host_of, is_loopback
from console.serving.failures import HttpRefusal, queue_full, shutting_down
from console.serving.queue import Draining, Full, Seats

BODY_SECONDS = 30.0
"""How long a client may take to send the body of its request."""
OPEN_PATHS = frozenset({"/health"})


@dataclass(frozen=True)
class Guard:
    """ASGI middleware in front of the application.

    Without a token the server answers on the loopback alone, and only to those who call it by a
    name of the loopback: a web page whose name was made to point here does not get in.

    Attributes:
        token: that every request must bring; None for none.
        largest: bytes of a body.
    """

    app: ASGIApp
    seats: Seats
    token: str | None
    largest: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            self._check_token(headers)
            if scope["method"] == "POST":
                await self._seated(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except HttpRefusal as refusal:
            await refusal.response()(scope, receive, send)

    async def _seated(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Whoever is slow to send, or never ends, takes no seat from others.
        body = await self._body(Headers(scope=scope), receive)
        try:
            with self.seats.seat():
                await self.app(scope, _replayed(body, receive), send)
        except Full as full:
            raise queue_full(full.retry_after) from None
        except Draining:
            raise shutting_down() from None

    def _check_host(self, headers: Mapping[str, str]) -> None:
        if self.token is None and not is_loopback(host_of(headers.get("host", ""))):
            raise HttpRefusal(
                403, "Host header not allowed: call the server as 127.0.0.1 or localhost"
            )

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            raise HttpRefusal(
                401,
                "wrong or missing bearer token",
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The whole body; nothing of one that says itself that it is too long is read."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.largest:
            raise self._too_large()
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise HttpRefusal(499, "the client closed the connection")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.largest:
                        raise self._too_large()
        except TimeoutError:
            raise HttpRefusal(
                408, "the body of the request did not arrive in time", headers=_CLOSE
            ) from None
        return bytes(body)

    def _too_large(self) -> HttpRefusal:
        return HttpRefusal(
            413,
            f"the body is larger than {self.largest} bytes",
            code="request_too_large",
            headers=_CLOSE,
        )


_CLOSE = {"Connection": "close"}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
