"""uvicorn around the application: the address, the ready line, and a drain at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn

from agents.progress import silent
from agents.task_force.agreement import check_until_agree
from agents.task_force.collective import Manner
from agents.task_force.roster import COLLECTIVE, Roster
from console.run.folder import RunFolder
from console.run.reading import open_reading
from console.serving.address import listen, origin_of, token_in
from console.serving.door import uvicorn_config
from console.serving.guard import Guard
from console.serving.meters import Meters
from console.serving.observed import Observed, log_as_json
from console.serving.queue import Seats
from console.serving.routes import build_app

TOKEN_VARIABLE = "ACDC_SERVE_TOKEN"


@dataclass(frozen=True)
class ServeSettings:
    """How a collective is served.

    Attributes:
        size: answers of the force.
        select_by: method of the plain name `acdc`.
        host: address to listen on; beyond the loopback only with a token.
        port: 0 for any free one.
        token_variable: environment variable that holds the bearer token.
        queue: requests accepted and not answered yet.
        largest_body: bytes of one request.
        max_tokens: of a reply where the request does not say it; None takes the run's own limit, by
            which its experts were graded.
        alone: whether N different experts answer greedily, in place of N voices.
        until_agree: voices that have to agree so that no more are asked, where the request does not
            say it; None asks all.
        log_json: whether each request, and every warning, is a line of JSON on stderr.
        log_texts: whether those lines tell questions and replies.
    """

    size: int
    select_by: str
    host: str = "127.0.0.1"
    port: int = 8100
    token_variable: str = TOKEN_VARIABLE
    queue: int = 256
    largest_body: int = 1 << 20
    max_tokens: int | None = None
    alone: bool = False
    until_agree: int | None = None
    log_json: bool = False
    log_texts: bool = False

    def token(self) -> str | None:
        """The bearer token without white space around it, None if nothing is left.

        Raises:
            UsageError: clients cannot send it, or there is none and the address can be reached from
                other machines.
        """
        return token_in(self.token_variable, TOKEN_VARIABLE, self.host)


async def serve(
    folder: RunFolder, settings: ServeSettings, ready: Callable[[str, Roster], None]
) -> None:
    """Serve the collective of a run until SIGTERM or SIGINT, and answer what was accepted.

    Args:
        folder: the run, which may be live; the force is that of the moment.
        settings: how.
        ready: called with the URL and the models once requests are taken.

    Raises:
        UsageError: no token for an address that others reach, or an address that is taken.
        AcdcError: the run cannot be opened, or has nobody who could answer.
    """
    token = settings.token()
    config = folder.config()
    if settings.log_json:
        log_as_json()
    with listen(settings.host, settings.port) as listener:
        async with open_reading(folder, config, silent) as context:
            roster = Roster.open(context, settings.size, settings.select_by, alone=settings.alone)
            check_until_agree(settings.until_agree, len(roster.models[COLLECTIVE].members))
            # Loaded now: a client of a ready server should not wait for the models.
            broker = await context.population.broker()
            seats = Seats(settings.queue)
            meters = Meters(seats, lambda: broker.swaps)
            run = str(context.store.meta("run_id") or context.folder.name)
            longest = settings.max_tokens or context.config.judge.max_tokens
            usual = Manner(longest, until_agree=settings.until_agree)
            app = build_app(context, roster, seats, usual, run, meters)
            guarded = Guard(app, seats, token, settings.largest_body)
            server = DrainingServer(
                uvicorn_config(
                    Observed(guarded, meters, run, settings.log_texts),
                    own_log=not settings.log_json,
                ),
                seats,
                lambda: ready(url_of(listener), roster),
            )
            await server.serve(sockets=[listener])


class DrainingServer(uvicorn.Server):
    """uvicorn that drains first: what was accepted is answered while what is new gets 503."""

    def __init__(self, config: uvicorn.Config, seats: Seats, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._seats = seats
        self._ready = ready
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the drain is done."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report it."""
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: the first one drains, a second one ends immediately."""
        assert self._loop is not None
        if self._seats.draining:
            self._loop.call_soon_threadsafe(self._abandon)
        else:
            self._seats.draining = True
            self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._draining = asyncio.create_task(self._drain(), name="drain")

    def _abandon(self) -> None:
        self.should_exit = self.force_exit = True
        # Otherwise the engine would go on until their answers are there.
        for request in self.server_state.tasks:
            request.cancel()

    async def _drain(self) -> None:
        await self._seats.drain()
        self.should_exit = True


def url_of(listener: socket.socket) -> str:
    """The base URL for clients."""
    return f"{origin_of(listener)}/v1"
