"""uvicorn around the viewer: the address, and an end that takes no time."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from urllib.parse import urlencode

import uvicorn

from console.serving.address import is_loopback, listen, origin_of, token_in
from console.serving.door import uvicorn_config
from console.view.asking import Asker
from console.view.guard import PARAMETER, ViewGuard
from console.view.render import Renderer
from console.view.routes import build_app
from console.view.source import Source

TOKEN_VARIABLE = "ACDC_VIEW_TOKEN"
AHEAD_S = 1.0
"""Seconds for which the first page may wait, so that it is complete at once."""


@dataclass(frozen=True)
class ViewSettings:
    """How runs are shown.

    Attributes:
        host: address to listen on.
        port: 0 for any free one.
        ask: whether the task force may be asked, for which models are loaded.
    """

    host: str = "127.0.0.1"
    port: int = 8200
    ask: bool = False

    def token(self) -> str | None:
        """What a browser has to bring: that of the environment, or a new one beyond the loopback.

        Raises:
            UsageError: browsers cannot send that of the environment, or it is too short.
        """
        given = token_in(TOKEN_VARIABLE, TOKEN_VARIABLE, "localhost")
        return given or (None if is_loopback(self.host) else secrets.token_urlsafe(24))


async def view(
    sources: Sequence[Source],
    settings: ViewSettings,
    ready: Callable[[str], None],
    reading: threading.Thread,
) -> None:
    """Show runs until SIGTERM or SIGINT.

    Args:
        sources: the runs.
        settings: how.
        ready: called with the URL once it can be opened.
        reading: reads ahead, see `read_ahead`; of a large run the rest is read while it is shown.

    Raises:
        UsageError: the address is taken, or none of ours.
    """
    token = settings.token()
    asker = Asker() if settings.ask else None
    app = ViewGuard(build_app(sources, Renderer(sources, asking=settings.ask), asker), token)
    with listen(settings.host, settings.port) as listener:
        await asyncio.to_thread(reading.join, AHEAD_S)
        server = ViewServer(uvicorn_config(app), lambda: ready(url_of(listener, token)))
        try:
            await server.serve(sockets=[listener])
        finally:
            if asker is not None:
                await asker.close()


class ViewServer(uvicorn.Server):
    """uvicorn that says when it is there; a signal ends it, which is no failure."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report it."""
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT."""
        self.should_exit = True


def url_of(listener: socket.socket, token: str | None) -> str:
    """What to open in a browser."""
    return f"{origin_of(listener)}/" + (f"?{urlencode({PARAMETER: token})}" if token else "")
