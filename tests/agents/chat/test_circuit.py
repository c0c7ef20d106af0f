"""A server that fails forever is asked so many times, however many calls there are."""

from __future__ import annotations

import asyncio

import pytest

from agents.chat.circuit import IN_VAIN
from agents.errors import EndpointError
from memory.store import RunStore
from tests.agents.chat.chat_cases import GOOD, Serve, critique, opened
from tests.agents.chat.scripted_server import Act, Body, Fail, Say

CONCURRENCY, ATTEMPTS, PROBES = 2, 3, 2
MOST = CONCURRENCY * ATTEMPTS + PROBES


@pytest.mark.parametrize("calls", [10, 40])
@pytest.mark.parametrize("failure", [Fail(429, "slow down"), Fail(500, "no GPU")], ids=str)
async def test_requests_to_a_server_that_is_down_do_not_grow_with_the_calls(
    store: RunStore, serve: Serve, failure: Fail, calls: int
) -> None:
    server = serve(lambda body: failure)
    async with opened(store, server.url, concurrency=CONCURRENCY) as client:
        asked = (critique(client, assignment=f"a{number}") for number in range(calls))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, EndpointError) for each in found)
        assert ATTEMPTS <= len(server.requests) <= MOST
        before = len(server.requests)
        with pytest.raises(EndpointError, match="down, and not asked again"):
            await critique(client, assignment="later")
        assert len(server.requests) == before
        assert len(store.calls()) <= CONCURRENCY, "what was not sent is no call of the budget"


async def test_a_session_asks_a_server_anew_and_a_reply_closes_the_circuit(
    store: RunStore, serve: Serve
) -> None:
    up: list[bool] = []
    server = serve(lambda body: Say(GOOD) if up else Fail(503, "one moment"))
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="one moment"):
            await critique(client)
        up.append(True)
        with pytest.raises(EndpointError, match="one moment; it is down"):
            await critique(client)
        client.begin_session()
        assert (await critique(client)).parsed is not None


async def test_after_a_rest_a_server_is_asked_again(
    store: RunStore, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.chat.circuit.REST_SECONDS", 0.0)
    up: list[bool] = []
    server = serve(lambda body: Say(GOOD) if up else Fail(503, "one moment"))
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError):
            await critique(client)
        up.append(True)
        assert (await critique(client)).parsed is not None


async def test_one_conversation_that_fails_keeps_no_other_from_its_answer(
    store: RunStore, serve: Serve
) -> None:
    def poisoned(body: Body) -> Act:
        return Fail(500, "assertion failed") if body.get("seed") == 13 else Say(GOOD)

    server = serve(poisoned)
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="assertion failed") as caught:
            await critique(client, seed=13)
        await client.raise_if_down(caught.value)
        assert (await critique(client)).parsed is not None


async def test_a_server_that_fails_at_every_conversation_is_given_up(
    store: RunStore, serve: Serve
) -> None:
    """Although it gives the one token that it is asked for."""
    server = serve(lambda body: Say("y") if body.get("max_tokens") == 1 else Fail(500, "no schema"))
    async with opened(store, server.url, attempts=1, concurrency=1) as client:
        for number in range(IN_VAIN + 10):
            with pytest.raises(EndpointError):
                await critique(client, assignment=f"a{number}")
    assert len(server.requests) <= 2 * IN_VAIN
