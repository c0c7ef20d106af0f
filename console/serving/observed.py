"""Every request is counted, told to the log, and gets an identifier."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.serving.exchange import REQUEST_HEADER, Exchange
from console.serving.meters import Meters

CLIENT_GONE = 499
"""The status, in log and metrics alone, of a request whose client has left."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observed:
    """ASGI middleware around everything, what is refused included.

    Attributes:
        run: id of the run.
        texts: whether the log tells questions and replies.
    """

    app: ASGIApp
    meters: Meters
    run: str
    texts: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, and note what came of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope, Headers(scope=scope).get(REQUEST_HEADER))
        scope.setdefault("state", {})["exchange"] = exchange

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)[REQUEST_HEADER] = exchange.id
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                exchange.complete = True

        try:
            await self.app(scope, receive, sent)
        finally:
            exchange.status = exchange.status or CLIENT_GONE
            self.meters.note(exchange)
            if _log.isEnabledFor(logging.INFO):
                fields = {"run": self.run, **exchange.as_fields(texts=self.texts)}
                _log.info("request", extra={"fields": fields})


def exchange_of(request: Request) -> Exchange:
    """The exchange that a request belongs to."""
    found: Exchange = request.state.exchange
    return found


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII: nothing that is logged can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_as_json() -> None:
    """From now on this process logs JSON lines to stderr: each request, and every warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _log.setLevel(logging.INFO)
