"""The connection to one server: one HTTP request at a time, its errors sorted, no key let out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import openai
from openai.types.chat import ChatCompletion

from agents.chat.circuit import Circuit
from agents.chat.dialect import Dialect
from agents.chat.endpoints import OFFLINE, EndpointSettings
from agents.chat.failures import TransientFailure, from_connection, from_status
from agents.chat.replies import ModelReply, read_reply
from agents.errors import EndpointError
from memory.records import Role

_NO_KEY = "none"
"""What is sent where no key is configured. Never left out: the library would then send the value of
OPENAI_API_KEY to whatever server is configured."""
_SECRET_LENGTH = 8
"""Shorter keys are placeholders such as EMPTY, which may well be words of an answer."""
_OFFLINE_URL = "http://offline/v1"
_LISTING_SECONDS = 10.0


class Connection:
    """One server, one model, one key; shared by the roles that agree in them.

    Attributes:
        slots: held while a call is under way, so that no more than `concurrency` are.
        dialect: what the server has been found to understand.
        circuit: whether it is known to be down.
    """

    def __init__(
        self, settings: EndpointSettings, key: str, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            settings: where to connect to.
            key: the API key, "" for none.
            transport: what answers for base_url "offline"; not used for real servers.
        """
        self.slots = asyncio.Semaphore(settings.concurrency)
        self.dialect = Dialect()
        self.circuit = Circuit()
        self._key = key
        offline = settings.base_url == OFFLINE
        if offline and transport is None:
            raise ValueError(f"base_url {OFFLINE!r} needs a transport that answers")
        # The library takes clients of httpx as well as of httpx2; its annotations name one only.
        client = httpx.AsyncClient(transport=transport) if offline else None
        self._client = openai.AsyncOpenAI(
            base_url=_OFFLINE_URL if offline else settings.base_url,
            api_key=key or _NO_KEY,
            max_retries=0,
            http_client=cast(Any, client),
        )

    async def send(self, payload: Mapping[str, Any], seconds: float) -> ModelReply:
        """One request for a chat completion.

        Raises:
            TransientFailure: if another attempt may help; time-outs and empty replies included.
            RefusedRequest: if it will not.
        """
        async with self._sorted_errors(seconds):
            completion: ChatCompletion = await self._client.chat.completions.create(
                **payload, timeout=seconds
            )
            reply = read_reply(completion)
        return replace(
            reply, text=self.conceal(reply.text), reasoning=self.conceal(reply.reasoning)
        )

    async def models(self) -> tuple[str, ...]:
        """Names of the models that the server lists.

        Raises:
            TransientFailure, RefusedRequest: if it lists none.
        """
        async with self._sorted_errors(_LISTING_SECONDS):
            body = await self._client.get("/models", cast_to=object)
        listed = body.get("data") if isinstance(body, dict) else None
        found = listed if isinstance(listed, list) else []
        entries = [entry for entry in found if isinstance(entry, dict)]
        return tuple(str(entry["id"]) for entry in entries if "id" in entry)

    def conceal(self, text: str) -> str:
        """The text without the key, should a server have quoted it."""
        return text.replace(self._key, "***") if len(self._key) >= _SECRET_LENGTH else text

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()

    @asynccontextmanager
    async def _sorted_errors(self, seconds: float) -> AsyncIterator[None]:
        # The library's own time limit is one per read, so a server that trickles would never end.
        try:
            async with asyncio.timeout(seconds):
                yield
        except (TimeoutError, openai.APITimeoutError) as error:
            raise TransientFailure(f"no answer within {seconds:g} s") from error
        except openai.APIConnectionError as error:
            raise from_connection(error) from error
        except openai.APIStatusError as error:
            raise from_status(error) from error
        # Beside bad JSON, a body can hold lists too deep and numbers too long for any reader.
        except (ValueError, RecursionError, openai.APIError) as error:
            raise TransientFailure("the body of the reply is not JSON") from error


class Connections:
    """The connections of all roles; roles that agree in where and how many share one."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        """Begin without any; `transport` answers for base_url "offline"."""
        self._transport = transport
        self._open: dict[tuple[str, str, str, int], Connection] = {}

    def get(self, role: Role, settings: EndpointSettings) -> Connection:
        """The connection of a role, opened at first use.

        Raises:
            EndpointError: if a key is configured and its variable does not hold one.
        """
        place = (settings.base_url, settings.model, settings.api_key_env, settings.concurrency)
        if place not in self._open:
            key = _key(role, settings)
            self._open[place] = Connection(settings, key, self._transport)
        return self._open[place]

    def try_again(self) -> None:
        """Ask servers that were down, too."""
        for connection in self._open.values():
            connection.circuit.close()

    async def close(self) -> None:
        """Close them all."""
        for connection in self._open.values():
            await connection.close()
        self._open.clear()


def _key(role: Role, settings: EndpointSettings) -> str:
    """The key from the environment, "" where none is configured."""
    variable = settings.api_key_env
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if key and key.isascii() and key.isprintable():
        return key
    problem = "holds characters that no key has" if key else "is not set"
    raise EndpointError(
        role,
        settings.base_url,
        settings.model,
        f"the environment variable {variable} {problem}",
        f"put the key into {variable}, or change endpoints.{role}.api_key_env",
    )
