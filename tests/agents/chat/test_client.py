"""The chat client against a real server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from agents.chat.check import check_endpoint
from agents.chat.client import ChatClient
from agents.chat.endpoints import EndpointSettings, EndpointsSettings
from agents.critic.critique import CritiqueReply
from agents.errors import BudgetExhausted, ContextLengthError, EndpointError
from memory.store import RunStore
from tests.agents.chat.chat_cases import GOOD, QUESTION, Serve, critique, opened
from tests.agents.chat.scripted_server import Act, Body, Cut, Fail, Hang, Raw, Say, Trickle

KEY = "sk-very-secret-0123456789"


async def test_reply_is_parsed_and_recorded_in_full(store: RunStore, serve: Serve) -> None:
    server = serve(Say(GOOD))
    async with opened(store, server.url) as client:
        completion = await critique(client, round=2, prompt_hash="ab")
    assert completion.parsed == CritiqueReply(verdict="accept", problems=[])
    assert completion.problem is None
    call = store.call(completion.call_key)
    assert call is not None
    assert call.messages == QUESTION
    assert (call.response, call.role, call.purpose, call.round) == (GOOD, "critic", "critique", 2)
    assert (call.tokens_in, call.tokens_out, call.attempts, call.prompt_hash) == (7, 5, 1, "ab")
    assert call.seconds > 0
    sent = server.requests[0]
    assert (sent["model"], sent["seed"], sent["max_tokens"]) == ("m", 11, 4096)
    assert sent["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("say", "tokens"),
    [
        (Say(GOOD, usage=(10**30, 5)), (0, 5)),
        (Say(GOOD, usage=(-(10**6), -1)), (0, 0)),
        (Say(GOOD, message={"refusal": {"code": 1}}), (7, 5)),
        (Say(None, message={"content": [{"type": "text", "text": GOOD}, "odd", 3]}), (7, 5)),
        (Say(GOOD, message={"reasoning_content": ["odd"]}), (7, 5)),
    ],
    ids=["huge usage", "negative usage", "odd refusal", "content in parts", "odd reasoning"],
)
async def test_an_odd_reply_is_read_as_far_as_it_makes_sense(
    store: RunStore, serve: Serve, say: Say, tokens: tuple[int, int]
) -> None:
    server = serve([say])
    async with opened(store, server.url) as client:
        assert (await critique(client)).parsed is not None
    totals = store.call_totals()["critic"]
    assert (totals["tokens_in"], totals["tokens_out"]) == tokens


async def test_free_text_is_returned_as_it_is(store: RunStore, serve: Serve) -> None:
    server = serve([Say("It is 42."), Say("It is", finish="length"), Say("")])
    async with opened(store, server.url) as client:
        texts = [
            await client.complete("rater", "rate", QUESTION, None, assignment=None, sample=sample)
            for sample in range(3)
        ]
    assert [text.text for text in texts] == ["It is 42.", "It is", ""]
    assert texts[0].problem is None
    assert "truncated" in (texts[1].problem or "")
    assert "empty" in (texts[2].problem or "")
    assert "response_format" not in server.requests[0]


@pytest.mark.parametrize(
    "mishap",
    [
        Fail(429),
        Fail(500),
        Fail(503, "overloaded"),
        Fail(408),
        Cut(),
        Raw(b'{"id": "x", "choices": []}'),
        Raw(b'{"id": "x", "choices": null, "error": {"message": "upstream is gone"}}'),
        Raw(b'{"id": "x", "choices": [{"message": "no"}]}'),
        Raw(b'{"id": "x", "choices": 5}'),
        Raw(b'{"id": "x", "choices": {"message": "no"}}'),
        Raw(b'{"id": "x", "choices": "no"}'),
        Raw(b'{"id": "x", "choices": [null]}'),
        Raw(b'{"id": "x", "choices": [["no"]]}'),
        Raw(b'{"id": "x", "choices": ' + b"9" * 5000 + b"}"),
        pytest.param(Raw(b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), id="deep"),
        Fail(429, headers={"Retry-After": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}),
        Fail(429, headers={"Retry-After": "nan"}),
        Fail(429, headers={"Retry-After": "soon"}),
        Raw(b"[]"),
        Raw(b'{"id": "x", "choi'),
        Raw(b"<html>busy</html>", "text/html"),
    ],
    ids=str,
)
async def test_passing_mishap_is_tried_again(store: RunStore, serve: Serve, mishap: Act) -> None:
    server = serve([mishap, Say(GOOD)])
    async with opened(store, server.url) as client:
        completion = await critique(client)
    assert completion.parsed is not None
    call = store.call(completion.call_key)
    assert call is not None
    assert call.attempts == 2


@pytest.mark.parametrize("mishap", [Hang(), Trickle()], ids=str)
async def test_slow_server_times_out_and_is_tried_again(
    store: RunStore, serve: Serve, mishap: Act
) -> None:
    server = serve([mishap, Say(GOOD)])
    async with opened(store, server.url, timeout=0.2) as client:
        completion = await critique(client)
    assert completion.parsed is not None
    call = store.call(completion.call_key)
    assert call is not None
    assert call.attempts == 2


@pytest.mark.parametrize("wait", ["1", formatdate(1001, usegmt=True)])
async def test_retry_after_is_honoured(
    store: RunStore,
    serve: Serve,
    wait: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.chat.failures.time", lambda: 1000.0)
    server = serve([Fail(429, headers={"Retry-After": wait}), Say(GOOD)])
    async with opened(store, server.url, longest_pause=10) as client:
        await critique(client)
    assert "attempt 1 of 3 failed, next in 1.0 s" in caplog.text


async def test_retry_after_is_capped(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(429, headers={"Retry-After": "3600"}), Say(GOOD)])
    async with asyncio.timeout(60), opened(store, server.url) as client:
        assert (await critique(client)).parsed is not None


async def test_exhausted_attempts_name_everything_and_a_new_run_tries_again(
    store: RunStore, serve: Serve
) -> None:
    up: list[bool] = []
    server = serve(lambda body: Say(GOOD) if up else Fail(500, "out of memory"))
    for _ in range(2):
        async with opened(store, server.url) as client:
            with pytest.raises(EndpointError) as caught:
                await critique(client)
        line = str(caught.value)
        assert all(
            part in line for part in ("critic", server.url, "m at", "HTTP 500", "3 attempts")
        )
        assert "out of memory" in line
    up.append(True)
    async with opened(store, server.url) as client:
        assert (await critique(client)).parsed is not None
    failed, again, succeeded = store.calls("critic")
    assert failed.error is not None
    assert failed.response is None
    assert failed.messages == QUESTION
    assert (failed.attempts, succeeded.attempts) == (3, 1)
    assert len({failed.key, again.key, succeeded.key}) == 3
    assert store.call_totals()["critic"]["failed"] == 2


async def test_nobody_listens(store: RunStore) -> None:
    async with opened(store, "http://127.0.0.1:9/v1") as client:
        with pytest.raises(EndpointError, match="no connection"):
            await critique(client)


async def test_bad_request_is_not_tried_again(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(418, "teapot")])
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="HTTP 418: teapot"):
            await critique(client)
    assert len(server.requests) == 1


async def test_used_up_quota_is_not_tried_again(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(429, "pay first", code="insufficient_quota")])
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="pay first"):
            await critique(client)


@pytest.mark.parametrize(
    "refusal",
    [
        Fail(400, "whatever", code="context_length_exceeded"),
        Fail(
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's "
            "maximum context length is 4096 tokens and your request has 12 input tokens.",
        ),
        Fail(400, "the request exceeds the available context size"),
        Fail(400, "input length and `max_tokens` exceed context limit: 9 + 4096 > 4096"),
    ],
    ids=str,
)
async def test_context_length_has_its_own_error(
    store: RunStore, serve: Serve, refusal: Fail
) -> None:
    server = serve([refusal])
    async with opened(store, server.url) as client:
        with pytest.raises(ContextLengthError, match="max_tokens"):
            await critique(client)
    assert len(server.requests) == 1
    assert store.call_totals()["critic"]["failed"] == 1


async def test_refused_key_names_its_variable(
    store: RunStore, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve([Fail(401, f"bad key {KEY}"), Fail(403, "go away")])
    async with opened(store, server.url, api_key_env="MY_KEY") as client:
        with pytest.raises(EndpointError, match="variable MY_KEY") as caught:
            await critique(client)
        assert KEY not in str(caught.value)
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="api_key_env"):
            await critique(client)


async def test_missing_key_is_told_before_anything_is_sent(store: RunStore, serve: Serve) -> None:
    server = serve([])
    async with opened(store, server.url, api_key_env="NO_SUCH_VARIABLE") as client:
        with pytest.raises(EndpointError, match="NO_SUCH_VARIABLE is not set"):
            await critique(client)
    assert server.requests == []


async def test_no_configured_key_sends_none_of_the_environment(
    store: RunStore, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = serve([Say(GOOD)])
    async with opened(store, server.url) as client:
        await critique(client)
    assert KEY not in str(server.headers)


async def test_unknown_model_lists_what_there_is(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(404, "The model `m` does not exist.")], models=["qwen", "llama"])
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="offers qwen, llama"):
            await critique(client)


async def test_wrong_path_hints_at_the_url(store: RunStore, serve: Serve) -> None:
    server = serve([])
    async with opened(store, server.url.removesuffix("/v1")) as client:
        with pytest.raises(EndpointError, match="/v1"):
            await critique(client)


def plain_server(*known: str) -> Callable[[Body], Act]:
    """A server that takes only these response formats."""

    def act(body: Body) -> Act:
        wanted = body.get("response_format", {}).get("type", "none")
        return Say(GOOD) if wanted in known else Fail(400, f"{wanted} is not supported")

    return act


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (("json_object", "none"), ["json_schema", "json_object", "json_object"]),
        (("none",), ["json_schema", "json_object", "none", "none"]),
    ],
)
async def test_missing_structured_output_is_found_out_once(
    store: RunStore, serve: Serve, known: tuple[str, ...], asked: list[str]
) -> None:
    server = serve(plain_server(*known))
    async with opened(store, server.url) as client:
        for sample in range(2):
            completion = await critique(client, sample=sample)
            assert completion.parsed is not None
    formats = [body.get("response_format", {}).get("type", "none") for body in server.requests]
    assert formats == asked


async def test_other_bad_requests_do_not_spoil_the_dialect(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(400, "rude prompt")] * 3 + [Say(GOOD)])
    async with opened(store, server.url) as client:
        with pytest.raises(EndpointError, match="rude prompt"):
            await critique(client)
        await critique(client, sample=1)
    assert server.requests[-1]["response_format"]["type"] == "json_schema"


async def test_servers_without_seed_or_with_another_limit_are_suited(
    store: RunStore, serve: Serve
) -> None:
    def choosy(body: Body) -> Act:
        if "seed" in body:
            return Fail(422, "extra inputs are not permitted: seed")
        if "max_tokens" in body:
            return Fail(400, "Unsupported parameter: use 'max_completion_tokens' instead.")
        return Say(GOOD)

    server = serve(choosy)
    async with opened(store, server.url) as client:
        await critique(client)
        await critique(client, sample=1)
    assert len(server.requests) == 4
    assert server.requests[-1]["max_completion_tokens"] == 4096
    assert server.requests[-1]["response_format"]["type"] == "json_schema"


async def test_a_seed_is_not_sent_where_it_is_not_wanted(store: RunStore, serve: Serve) -> None:
    server = serve(Say(GOOD))
    async with opened(store, server.url, send_seed=False) as client:
        await critique(client)
    assert "seed" not in server.requests[0]


@pytest.mark.parametrize(
    ("say", "problem"),
    [
        (Say('{"verdict": "accept", "prob'), "not valid JSON"),
        (Say('{"verdict": "accept", "prob', finish="length"), "truncated"),
        (Say('{"verdict": "perhaps", "problems": []}'), "verdict: Input should be"),
        (Say('{"verdict": "accept"}'), "problems: Field required"),
        (Say("I like it."), "no complete JSON object"),
        (Say(""), "empty"),
        (Say(None), "empty"),
        (Say("<think>hm", finish="length"), "empty: it ended at the token limit"),
        (Say(None, message={"refusal": "I cannot."}), "refused: I cannot."),
        (Say("", finish="content_filter"), "content filter"),
    ],
    ids=str,
)
async def test_poor_content_is_a_problem_and_found_again(
    store: RunStore, serve: Serve, say: Say, problem: str
) -> None:
    server = serve([say])
    async with opened(store, server.url) as client:
        completion = await critique(client)
        again = await critique(client)
    assert completion.parsed is None
    assert problem in (completion.problem or "")
    assert again == completion
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "say",
    [
        Say(f"<think>maybe {{}} not</think>\n{GOOD}"),
        Say(f"maybe {{}} not</think>\n{GOOD}"),
        Say(GOOD, message={"reasoning_content": "maybe {} not"}),
        Say(GOOD, message={"reasoning": "maybe {} not"}),
    ],
    ids=str,
)
async def test_reasoning_is_kept_apart(store: RunStore, serve: Serve, say: Say) -> None:
    server = serve([say])
    async with opened(store, server.url) as client:
        completion = await critique(client)
    assert completion.parsed is not None
    assert completion.text == GOOD
    call = store.call(completion.call_key)
    assert call is not None
    assert call.reasoning == "maybe {} not"


async def test_lone_surrogates_and_missing_usage_do_no_harm(store: RunStore, serve: Serve) -> None:
    server = serve([Say("half a pair: \ud83d", usage=None)])
    async with opened(store, server.url) as client:
        completion = await critique(client)
    assert completion.text == "half a pair: ?"
    call = store.call(completion.call_key)
    assert call is not None
    assert (call.tokens_in, call.tokens_out) == (0, 0)


async def test_answered_call_is_not_sent_again_by_another_client(
    store: RunStore, serve: Serve
) -> None:
    server = serve([Say(GOOD), Say(GOOD), Say(GOOD)])
    async with opened(store, server.url) as client:
        first = await critique(client)
    async with opened(store, server.url) as client:
        assert await critique(client) == first
        await critique(client, sample=1)
        await critique(client, round=1)
    assert len(server.requests) == 3
    totals = store.call_totals()["critic"]
    assert (totals["calls"], totals["cached"]) == (3, 1)


async def test_url_may_change_on_resume_but_sampling_makes_a_new_call(
    store: RunStore, serve: Serve
) -> None:
    server, moved = serve([Say(GOOD)]), serve([Say(GOOD)])
    async with opened(store, server.url) as client:
        await critique(client)
    async with opened(store, moved.url) as client:
        await critique(client)
    assert moved.requests == []
    async with opened(store, moved.url, temperature=0.1) as client:
        await critique(client)
    assert len(moved.requests) == 1


async def test_equal_calls_at_one_time_are_sent_once(store: RunStore, serve: Serve) -> None:
    server = serve([Say(GOOD, after=0.05)])
    async with opened(store, server.url) as client:
        both = await asyncio.gather(critique(client), critique(client))
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("limits", "which", "answered"),
    [({"calls": 2}, "calls", 2), ({"tokens": 13}, "tokens", 2), ({"seconds": 1e-6}, "seconds", 1)],
)
async def test_budget_ends_cleanly_and_survives_a_resume(
    store: RunStore, serve: Serve, limits: dict[str, float], which: str, answered: int
) -> None:
    server = serve([Say(GOOD)] * 3)
    async with opened(store, server.url, budget=limits) as client:
        for sample in range(answered):
            await critique(client, sample=sample)
        with pytest.raises(BudgetExhausted, match=f"endpoints.critic.budget.{which}") as caught:
            await critique(client, sample=9)
        assert (caught.value.role, caught.value.which) == ("critic", which)
    async with opened(store, server.url, budget=limits) as client:
        with pytest.raises(BudgetExhausted):
            await critique(client, sample=9)
        assert (await critique(client)).parsed is not None
    async with opened(store, server.url) as client:
        await critique(client, sample=9)
    assert len(server.requests) == answered + 1


async def test_budget_of_calls_is_exact_under_concurrency(store: RunStore, serve: Serve) -> None:
    server = serve(lambda body: Say(GOOD, after=0.02))
    async with opened(store, server.url, budget={"calls": 3}) as client:
        results = await asyncio.gather(
            *(critique(client, sample=sample) for sample in range(8)), return_exceptions=True
        )
    assert len(server.requests) == 3
    assert sum(isinstance(result, BudgetExhausted) for result in results) == 5


async def test_every_attempt_is_a_call_of_the_budget(store: RunStore, serve: Serve) -> None:
    server = serve([Fail(503), Fail(503), Say(GOOD), Fail(503), Fail(503), Say(GOOD)])
    async with opened(store, server.url, budget={"calls": 4}) as client:
        assert (await critique(client)).parsed is not None
        with pytest.raises(BudgetExhausted, match=r"budget\.calls"):
            await critique(client, sample=1)
    assert len(server.requests) == 4, "three attempts of the first call, one of the second"
    assert [(call.attempts, call.error is None) for call in store.calls()] == [
        (3, True),
        (1, False),
    ]
    async with opened(store, server.url, budget={"calls": 4}) as client:
        with pytest.raises(BudgetExhausted):
            await critique(client, sample=1)
    assert len(server.requests) == 4, "earlier sessions count"
    async with opened(store, server.url, budget={"calls": 6}) as client:
        assert (await critique(client, sample=1)).parsed is not None
    totals = store.call_totals()["critic"]
    assert (totals["calls"], totals["attempts"], totals["failed"]) == (3, 6, 1)


async def test_attempts_at_the_same_time_do_not_exceed_the_budget(
    store: RunStore, serve: Serve
) -> None:
    server = serve(lambda body: Fail(503))
    limits = {"budget": {"calls": 7}, "concurrency": 4}
    async with opened(store, server.url, **limits) as client:
        await asyncio.gather(
            *(critique(client, sample=sample) for sample in range(8)), return_exceptions=True
        )
    asked = [body for body in server.requests if "Say yes." not in str(body)]
    assert len(asked) == store.call_totals()["critic"]["attempts"] == 7


async def test_a_budget_that_ends_lets_the_calls_under_way_come_to_their_record(
    store: RunStore, serve: Serve
) -> None:
    server = serve(lambda body: Say(GOOD, after=0.2))
    async with opened(store, server.url, budget={"calls": 3}) as client:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:  # cancels the others at the first failure
                for number in range(6):
                    group.create_task(critique(client, assignment=f"g0-a{number:02d}"))
    assert {type(error) for error in caught.value.exceptions} == {BudgetExhausted}
    assert len(server.requests) == 3
    assert [call.error for call in store.calls()] == [None] * 3


async def test_budgets_are_counted_per_role(store: RunStore, serve: Serve) -> None:
    server = serve([Say(GOOD)] * 2)
    async with opened(store, server.url, budget={"calls": 1}) as client:
        await critique(client)
        await client.complete("scientist", "x", QUESTION, CritiqueReply, assignment=None)
        with pytest.raises(BudgetExhausted):
            await critique(client, sample=1)


async def test_concurrency_limit_is_held_by_all_roles_together(
    store: RunStore, serve: Serve
) -> None:
    server = serve(lambda body: Say(GOOD, after=0.03))
    async with opened(store, server.url, concurrency=2) as client:
        await asyncio.gather(
            *(critique(client, sample=sample) for sample in range(4)),
            *(
                client.complete("rater", "x", QUESTION, CritiqueReply, assignment=None, sample=s)
                for s in range(4)
            ),
        )
    assert len(server.requests) == 8
    assert server.most_under_way == 2


async def test_key_is_sent_but_never_kept(
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.INFO, "acdc.chat")
    acts: list[Act] = [
        Fail(500, f"your key {KEY}"),
        Say(f"your key is {KEY} {GOOD}"),
        Fail(400, KEY),
    ]
    server = serve([*acts, Fail(400, KEY), Fail(400, KEY)])
    with RunStore.open(tmp_path / "run") as store:
        async with opened(store, server.url, api_key_env="MY_KEY") as client:
            await critique(client)
            with pytest.raises(EndpointError, match=r"\*\*\*"):
                await critique(client, sample=1)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(b"your key is ***" in path.read_bytes() for path in files)
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert "attempt 1 of 3 failed" in caplog.text
    assert KEY not in caplog.text
    assert QUESTION[0].content not in caplog.text


class Echo(httpx.AsyncBaseTransport):
    """An offline model that agrees with everything."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/chat/completions"
        return httpx.Response(200, json=Say(GOOD).body())


async def test_offline_roles_are_answered_by_the_transport(store: RunStore) -> None:
    client = ChatClient(EndpointsSettings(), store, transport=Echo())
    completion = await critique(client)
    check = await client.check("critic")
    await client.close()
    assert completion.parsed is not None
    call = store.call(completion.call_key)
    assert call is not None
    assert (call.model, call.endpoint) == ("offline", "offline")
    assert "offline" in str(check)


async def test_check_reports_models_and_latency_or_raises(store: RunStore, serve: Serve) -> None:
    server = serve([Say("yes", finish="length"), Fail(401)], models=["m"])
    async with opened(store, server.url) as client:
        found = await client.check("chooser")
    assert found.models == ("m",)
    assert found.seconds > 0
    assert server.url in str(found)
    assert server.requests[0]["max_tokens"] == 1
    assert store.calls() == []
    with pytest.raises(EndpointError, match="api_key_env"):
        await check_endpoint("critic", EndpointSettings(base_url=server.url, model="m"))
