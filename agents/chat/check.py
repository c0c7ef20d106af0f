"""Whether an endpoint answers, for `acdc doctor`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agents.chat.attempts import Endpoint
from agents.chat.connection import Connection, Connections
from agents.chat.dialect import EndpointRequest
from agents.chat.endpoints import OFFLINE, EndpointSettings
from agents.chat.failures import RefusedRequest, TransientFailure
from memory.records import ChatMessage, Role

_MOST_ATTEMPTS = 2
_MOST_SECONDS = 120.0
"""Enough for a server that loads its model first."""


@dataclass(frozen=True, slots=True)
class EndpointCheck:
    """What came of a check.

    Attributes:
        models: what the server lists; empty if it lists nothing.
        seconds: how long a completion of one token took.
    """

    role: Role
    url: str
    model: str
    models: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        """One line for a person."""
        if self.url == OFFLINE:
            return "the offline scientist, no server needed"
        listed = f"; the server lists {len(self.models)} models" if self.models else ""
        return f"{self.model} at {self.url} answers in {self.seconds:.2f} s{listed}"


async def check_endpoint(role: Role, settings: EndpointSettings) -> EndpointCheck:
    """Check an endpoint without a run: list its models and ask for one token.

    Raises:
        EndpointError: if it does not answer, or refuses.
        ContextLengthError: if even that does not fit its context.
    """
    connections = Connections(None)
    try:
        return await check(role, settings, connections)
    finally:
        await connections.close()


async def check(role: Role, settings: EndpointSettings, connections: Connections) -> EndpointCheck:
    """As `check_endpoint`, over connections that are open already."""
    if settings.base_url == OFFLINE:
        return EndpointCheck(role, settings.base_url, settings.model, (OFFLINE,))
    connection = connections.get(role, settings)
    models = await _models(connection)
    begun = time.monotonic()
    patience = {
        "attempts": min(_MOST_ATTEMPTS, settings.attempts),
        "timeout": min(_MOST_SECONDS, settings.timeout),
    }
    impatient = settings.model_copy(update=patience)
    await Endpoint(role, impatient, connection).probe(_one_token(settings))
    seconds = time.monotonic() - begun
    return EndpointCheck(role, settings.base_url, settings.model, models, seconds)


async def _models(connection: Connection) -> tuple[str, ...]:
    """Some servers list no models and work all the same."""
    try:
        return await connection.models()
    except (TransientFailure, RefusedRequest):
        return ()


def _one_token(settings: EndpointSettings) -> EndpointRequest:
    """The shortest question; where max_tokens is unset, it is not sent here either."""
    sampling = settings.sampling()
    if "max_tokens" in sampling:
        sampling["max_tokens"] = 1
    return EndpointRequest(
        model=settings.model,
        messages=(ChatMessage(role="user", content="Say yes."),),
        sampling=sampling,
    )
