"""Connections of clients: a head of limited length, and deadlines for what they have to send.

The deadline of a body is that of `Guard`, which knows who sends it.
"""

from __future__ import annotations

import asyncio

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long a client may take to send request line and headers, or a body that nobody reads."""


def uvicorn_config(app: ASGIApp, *, own_log: bool = True) -> uvicorn.Config:
    """How uvicorn serves an application of ours.

    By h11, which refuses a head beyond 16 KiB; httptools, which uvicorn may prefer, has no limit.

    Args:
        app: the application.
        own_log: whether uvicorn writes its warnings in its own way; else they go where the process
            logs to.
    """
    return uvicorn.Config(
        app,
        http=Door,
        log_config=LOGGING_CONFIG if own_log else None,
        ws="none",
        log_level="warning",
        lifespan="off",
        server_header=False,
    )


class Door(H11Protocol):
    """uvicorn's connection, closed when a client does not send in time what is still to come."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A client has sent something."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A client was answered, perhaps before its request was whole."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has gone."""
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        """Begin to wait for a client, or go on, or end it when its turn is over."""
        theirs = self.conn.their_state
        unread = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if self.transport.is_closing() or not (theirs is h11.IDLE or unread):
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
