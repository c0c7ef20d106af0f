"""What the server says of itself: identifiers, headers, metrics and the log, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.serving import observed, streams
from console.serving.observed import JsonLines
from tests.console.serving.place import Place

TOKEN = "a-token-of-the-tests"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place(queue=2)
    await found.ready.wait()
    yield found
    await found.end()


async def measured(place: Place, **headers: str) -> dict[tuple[str, ...], float]:
    """What /metrics says: name and label values -> value."""
    async with httpx.AsyncClient() as client:
        reply = await client.get(place.url.replace("/v1", "/metrics"), headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for metric in text_string_to_metric_families(reply.text)
        for sample in metric.samples
    }


async def test_requests_are_counted_by_route_method_and_status(place: Place) -> None:
    waiting = [place.ask("one"), place.ask("fail")]
    await place.until_begun(2)
    assert (await place.ask("too many")).status_code == 429
    before = await measured(place)
    assert before["acdc_queue_length",] == before["acdc_queue_limit",] == 2
    place.voice.go.set()
    await asyncio.gather(*waiting)
    await place.until_empty()
    found = await measured(place)
    chat = "/v1/chat/completions"
    for status in ("200", "429", "500"):
        assert found["acdc_requests_total", "POST", chat, status] == 1
    assert found["acdc_request_seconds_count", chat] == 3
    assert found["acdc_tokens_total", "in", "alpha"] == 1
    assert found["acdc_tokens_total", "out", "alpha"] == 1
    assert found["acdc_swaps_total",] == 5
    assert found["acdc_queue_length",] == 0
    assert not [name for name in found if name[0].startswith("acdc_agreement")], "one voice"


async def test_what_clients_make_up_becomes_no_label(place: Place) -> None:
    async with httpx.AsyncClient(base_url=place.url.removesuffix("/v1")) as client:
        for number in range(5):
            await client.get(f"/v1/models/nobody-{number}")
            await client.get(f"/made/up/{number}")
            await client.request(f"VERB{number}", "/health", headers={"x-request-id": str(number)})
        body = {"model": "made-up", "messages": [{"role": "user", "content": "x"}]}
        await client.post("/v1/chat/completions", json=body)
    found = await measured(place)
    counted = {name[1:] for name in found if name[0] == "acdc_requests_total"}
    assert counted == {
        ("GET", "/v1/models/{name}", "404"),
        ("GET", "other", "404"),
        ("other", "/health", "405"),
        ("POST", "/v1/chat/completions", "404"),
    }
    assert "made-up" not in str(found)


async def test_metrics_need_the_token_where_there_is_one() -> None:
    place = Place(queue=2, token=TOKEN)
    await place.ready.wait()
    async with httpx.AsyncClient() as client:
        assert (await client.get(place.url.replace("/v1", "/metrics"))).status_code == 401
    found = await measured(place, Authorization=f"Bearer {TOKEN}")
    assert found["acdc_requests_total", "GET", "/metrics", "401"] == 1
    await place.end()


@pytest.mark.parametrize("given", ["abc-1.2_3:4", "x" * 128])
async def test_a_sane_request_id_is_honoured(place: Place, given: str) -> None:
    place.voice.go.set()
    reply = await place.ask(headers={"x-request-id": given})
    assert reply.headers["x-request-id"] == given
    assert reply.headers["x-acdc-run"] == "run-7"
    assert reply.headers["x-acdc-expert"] == "alpha"
    client = openai.AsyncOpenAI(base_url=place.url, api_key="-", max_retries=0)
    made = await client.chat.completions.create(
        model="acdc", messages=[{"role": "user", "content": "x"}]
    )
    assert made._request_id is not None
    assert made._request_id != given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a\tb", "é".encode("latin-1")])
async def test_another_one_is_replaced(place: Place, given: str | bytes) -> None:
    place.voice.go.set()
    own = (await place.ask(headers={"x-request-id": given})).headers["x-request-id"]
    assert len(own) == 32
    assert (await place.ask()).headers["x-request-id"] != own
    refused = await place.ask(headers={"Host": "evil.example"})
    assert (refused.status_code, len(refused.headers["x-request-id"])) == (403, 32)


async def test_a_stream_that_begins_before_an_answer_names_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    body = {"model": "acdc", "stream": True, "messages": [{"role": "user", "content": "slow"}]}
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{place.url}/chat/completions", json=body) as reply,
    ):
        assert reply.headers["x-acdc-run"] == "run-7"
        assert "x-acdc-expert" not in reply.headers
        place.voice.go.set()
        await reply.aread()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    records = [record for record in caplog.records if record.name == observed.__name__]
    return [json.loads(JsonLines().format(record)) for record in records]


async def test_each_request_is_a_line_without_texts_and_keys(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, observed.__name__)
    place.voice.go.set()
    headers = {"x-request-id": "mine", "Authorization": "Bearer sk-secret"}
    await place.ask("a private question", headers=headers)
    await place.ask("a private question", model="a private model")
    await place.until_empty()
    answered, refused = lines(caplog)
    assert answered.pop("seconds") >= 0
    assert answered.pop("time").endswith("+00:00")
    assert answered == {
        "level": "INFO",
        "logger": "console.serving.observed",
        "event": "request",
        "run": "run-7",
        "request": "mine",
        "route": "/v1/chat/completions",
        "verb": "POST",
        "status": 200,
        "complete": True,
        "model": "acdc",
        "method": [],
        "expert": ["alpha"],
        "agreement": [1.0],
        "tokens_in": 1,
        "tokens_out": 1,
        "tokens": {"alpha": {"in": 1, "out": 1}},
    }
    assert (refused["status"], refused["model"], refused["expert"]) == (404, None, [])
    told = json.dumps([answered, refused])
    assert "private" not in told
    assert "secret" not in told


async def test_texts_are_logged_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, observed.__name__)
    place = Place(queue=2, texts=True)
    await place.ready.wait()
    place.voice.go.set()
    await place.ask("a\u2028line\n", headers={"Authorization": "Bearer sk-secret"})
    await place.end()
    [record] = [record for record in caplog.records if record.name == observed.__name__]
    line = JsonLines().format(record)
    assert line.isascii()
    assert "\n" not in line
    assert "secret" not in line
    assert json.loads(line)["questions"] == json.loads(line)["replies"] == ["a\u2028line\n"]


async def test_what_ends_early_is_told_as_it_ended(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, observed.__name__)
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    failing = place.ask("fail", stream=True)
    await place.until_begun(1)
    await asyncio.sleep(0.1)
    place.voice.go.set()
    assert (await failing).status_code == 200
    place.voice.go.clear()
    leaving = place.ask("leaving")
    await place.until_begun(2)
    leaving.cancel()
    await place.until_empty()
    async with asyncio.timeout(30):
        while len(lines(caplog)) < 2:
            await asyncio.sleep(0.005)
    late, gone = lines(caplog)
    assert (late["status"], late["complete"]) == (500, True), "an error within the stream"
    assert gone["status"] == 499
    found = await measured(place)
    assert found["acdc_requests_total", "POST", "/v1/chat/completions", "500"] == 1


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed %s", ("now",), info)
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("failed now", "ERROR")
    assert "ValueError: two\nlines" in told["exception"]
