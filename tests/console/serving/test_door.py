"""Clients that send too much, too slowly, or never to the end: bare sockets at a real server."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import pytest

from console.serving import door, guard
from tests.console.serving.place import Place

TOKEN = "a-token-of-the-tests"
BODY = json.dumps({"model": "acdc", "messages": [{"role": "user", "content": "one"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
HEAD = POST + b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Three seats; whoever asks is answered at once."""
    found = Place(queue=3)
    await found.ready.wait()
    found.voice.go.set()
    yield found
    await found.end()


@pytest.fixture
async def guarded() -> AsyncIterator[Place]:
    found = Place(queue=3, token=TOKEN)
    await found.ready.wait()
    yield found
    await found.end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)


class Client:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def at(cls, place: Place) -> Client:
        address = urlsplit(place.url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes) -> None:
        """Byte by byte, so that there is always something new, until the server has enough."""
        for place in range(len(data)):
            await self.send(data[place : place + 1])
            await asyncio.sleep(0.02)

    async def until_closed(self) -> bytes:
        """Everything that the server says until it closes the connection."""
        said = b""
        async with asyncio.timeout(30):
            try:
                while piece := await self.reader.read(1 << 16):
                    said += piece
            except ConnectionError:
                pass
        return said

    def leave(self) -> None:
        self._writer.close()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: ", b"x" * (1 << 17)),
        (b"GET /", b"x" * (1 << 17)),
        (POST, b"X-More: yes\r\n" * 10_000),
    ],
    ids=["long header", "long path", "many headers"],
)
async def test_a_head_without_end_is_refused_when_it_is_too_long(
    place: Place, start: bytes, more: bytes
) -> None:
    client = await Client.at(place)
    await client.send(start)
    sent = 0
    try:
        while sent < 1 << 28:
            await client.send(more)
            sent += len(more)
    except ConnectionError:
        pass
    assert sent < 1 << 24, "no more than lies in the buffers of two sockets"
    client.leave()
    assert (await place.ask()).status_code == 200


async def _nothing(client: Client) -> None:
    pass


async def _half_a_line(client: Client) -> None:
    await client.send(b"POST /v1/chat/comp")


async def _half_a_head(client: Client) -> None:
    await client.send(HEAD)


async def _drops(client: Client) -> None:
    with pytest.raises(ConnectionError):
        await client.drip(POST + b"X-Drops: " + b"x" * 1000)


async def _a_second_head(client: Client) -> None:
    await client.send(HEAD + b"\r\n" + BODY)
    assert b"200 OK" in await client.reader.readuntil(b"\r\n")
    await client.send(HEAD)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "sends",
    [_nothing, _half_a_line, _half_a_head, _drops, _a_second_head],
    ids=lambda f: f.__name__,
)
async def test_a_head_that_is_not_whole_in_time_is_not_waited_for(
    place: Place, sends: Callable[[Client], Awaitable[None]]
) -> None:
    client = await Client.at(place)
    await sends(client)
    assert b"HTTP/1.1" not in await client.until_closed()
    assert not place.server.server_state.connections
    client.leave()


async def _half_a_body(client: Client) -> None:
    await client.send(HEAD + b"\r\n" + BODY[:9])


async def _no_body(client: Client) -> None:
    await client.send(HEAD + b"\r\n")


async def _half_a_chunked_body(client: Client) -> None:
    await client.send(CHUNKED)


async def _dropping_chunks(client: Client) -> None:
    await client.send(CHUNKED)
    with pytest.raises(ConnectionError):
        await client.drip(b"1\r\n \r\n" * 1000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "sends",
    [_half_a_body, _no_body, _half_a_chunked_body, _dropping_chunks],
    ids=lambda f: f.__name__,
)
async def test_a_body_that_is_not_whole_in_time_is_refused(
    place: Place, sends: Callable[[Client], Awaitable[None]]
) -> None:
    client = await Client.at(place)
    await sends(client)
    said = await client.until_closed()
    if sends is not _dropping_chunks:  # Whose connection was reset, with what it had not read.
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive in time" in said
    assert place.voice.begun == []
    client.leave()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
async def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for(
    guarded: Place, method: str
) -> None:
    client = await Client.at(guarded)
    await client.send(HEAD.replace(b"POST", method.encode()) + b"\r\n" + BODY[:9])
    assert (await client.until_closed()).startswith(b"HTTP/1.1 401 ")
    client.leave()


async def test_a_token_is_asked_for_before_a_body_is_read(guarded: Place) -> None:
    """Without a deadline: the refusal comes though the body never does."""
    client = await Client.at(guarded)
    await client.send(HEAD + b"Authorization: Bearer wrong\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(20):
        assert b" 401 " in await client.reader.readuntil(b"\r\n")
    client.leave()


async def test_half_sent_bodies_take_no_seats(place: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))
    slow = [await Client.at(place) for _ in range(300)]
    for number, client in enumerate(slow):
        await client.send(CHUNKED if number % 2 else HEAD + b"\r\n" + BODY[:9])
    async with httpx.AsyncClient() as bare, asyncio.timeout(25):
        while len(place.server.server_state.tasks) < 300:
            await asyncio.sleep(0.01)
        state = await bare.get(place.url.replace("/v1", "/health"))
        assert state.json() == {"status": "ok", "waiting": 0}
        assert (await place.ask()).status_code == 200
    await slow[0].send(BODY[9:])
    async with asyncio.timeout(20):
        assert b"200 OK" in await slow[0].reader.readuntil(b"\r\n")
    for client in slow:
        client.leave()
