"""`acdc serve`: the real command over HTTP, asked by the official client and by bare requests."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.errors import UsageError
from console.serving.address import listen
from console.serving.server import ServeSettings
from tests.conftest import make_tokenizer
from tests.console.conftest import Acdc
from tests.console.serving.served import TOKEN, Served, serving


@pytest.fixture(scope="module")
def run_copy(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whoever serves a run holds it; other tests want the run for themselves."""
    folder = tmp_path_factory.mktemp("serving") / "run"
    shutil.copytree(finished_run, folder)
    return folder


@pytest.fixture(scope="module")
def served(acdc: Acdc, run_copy: Path) -> Iterator[Served]:
    with serving(acdc, run_copy, "--max-body", "20000") as place:
        yield place


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_models_are_the_collective_its_methods_and_its_experts(served: Served) -> None:
    listed = list(served.client.models.list())
    names = [model.id for model in listed]
    assert names == served.models
    assert names[0] == "acdc"
    assert {"acdc:majority", "acdc:weighted_majority", "acdc:skill_routing"} <= set(names)
    experts = [name for name in names if not name.startswith("acdc")]
    assert experts == served.experts
    assert served.client.models.retrieve(experts[0]).owned_by == "acdc"
    assert listed[0].model_extra is not None
    told = listed[0].model_extra["acdc"]
    assert told["method"] == "skill_routing"
    assert len(told["experts"]) == len(told["temperatures"]) == 3
    assert list(dict.fromkeys(told["experts"])) == experts
    alone = listed[-1].model_extra
    assert alone is not None
    assert alone["acdc"] == {"method": None, "experts": experts[-1:], "temperatures": [0.0]}


def test_a_chosen_answer_is_one_that_its_expert_gives_alone(served: Served) -> None:
    question = user("Name a river.")
    reply = served.client.chat.completions.create(
        model="acdc:logprob",
        messages=question,
        temperature=0,
        extra_body={"acdc": {"details": True}},
    )
    [choice] = reply.choices
    assert choice.model_extra is not None
    told = choice.model_extra["acdc"]
    assert told["method"] == "logprob"
    assert {said["expert"] for said in told["answers"]} == set(served.experts)
    assert len(told["votes"]) == 3
    best = max(told["answers"], key=lambda said: said["logprob"])
    assert (told["chosen"], choice.message.content) == (best["expert"], best["text"])
    for said in told["answers"]:
        alone = served.client.chat.completions.create(model=said["expert"], messages=question)
        assert alone.choices[0].message.content == said["text"]
        assert alone.choices[0].finish_reason == said["finish_reason"]
        assert alone.usage is not None
        assert alone.usage.completion_tokens == said["tokens"]
        assert alone.usage.prompt_tokens == said["tokens_in"]
        assert alone.choices[0].model_extra == {}, "nobody asked who said what"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == sum(said["tokens"] for said in told["answers"])
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_completions_put_the_prompt_as_a_question(served: Served) -> None:
    chat = served.client.chat.completions.create(
        model="acdc", messages=user("Name a river."), temperature=0
    )
    plain = served.client.completions.create(
        model="acdc", prompt=["Name a river.", "Sort these words."], n=2, temperature=0
    )
    texts = [choice.text for choice in plain.choices]
    assert [choice.index for choice in plain.choices] == [0, 1, 2, 3]
    assert texts[0] == texts[1] == chat.choices[0].message.content
    assert texts[2] == texts[3]
    single = served.client.completions.create(
        model="acdc", prompt="Sort these words.", temperature=0
    )
    assert single.choices[0].text == texts[2]
    assert plain.usage is not None
    assert chat.usage is not None
    assert single.usage is not None
    for name in ("prompt_tokens", "completion_tokens"):
        both = getattr(chat.usage, name) + getattr(single.usage, name)
        assert getattr(plain.usage, name) == both, "greedy copies are made once"


def test_seeds_repeat_and_choices_differ(served: Served) -> None:
    def drawn(seed: int | None, n: int = 4) -> list[str | None]:
        reply = served.client.chat.completions.create(
            model=served.models[-1], messages=user("One?"), temperature=1.5, n=n, seed=seed
        )
        assert [choice.index for choice in reply.choices] == list(range(n))
        return [choice.message.content for choice in reply.choices]

    assert drawn(7) == drawn(7)
    assert drawn(-7) == drawn(-7) != drawn(7)
    assert len(set(drawn(7))) > 1
    assert drawn(None) != drawn(None)
    assert drawn(7, 2) == drawn(7)[:2]


def test_stops_limits_and_own_system_messages(served: Served) -> None:
    def asked(**more: Any) -> Any:
        messages = more.pop("messages", user("Name a river."))
        return served.client.chat.completions.create(
            model=served.models[-1], messages=messages, **more
        ).choices[0]

    whole = asked().message.content
    assert len(whole) > 2
    stopped = asked(stop=["never said", whole[1:3]])
    assert stopped.message.content == whole[: whole.index(whole[1:3])]
    assert stopped.finish_reason == "stop"
    assert asked(max_tokens=1).finish_reason == "length"
    assert whole.startswith(asked(max_completion_tokens=2).message.content)
    own = [{"role": "developer", "content": "one two three"}, *user("Name a river.")]
    assert asked(messages=own).message.content != whole
    parts = [{"role": "user", "content": [{"type": "text", "text": "Name a river."}]}]
    assert asked(messages=parts).message.content == whole
    talk = [*user("One?"), {"role": "assistant", "content": "two"}, *user("Name a river.")]
    assert asked(messages=talk).message.content != whole


@pytest.mark.parametrize("name", ["acdc", "acdc:logprob", -1])
def test_a_chat_tells_the_log_probability_of_each_token(served: Served, name: str | int) -> None:
    model = name if isinstance(name, str) else served.models[name]
    ask: dict[str, Any] = {"model": model, "messages": user("Name a river.")}
    ask |= {"extra_body": {"acdc": {"details": True}}}
    plain = served.client.chat.completions.create(**ask).choices[0]
    assert plain.logprobs is None
    choice = served.client.chat.completions.create(**ask, logprobs=True, top_logprobs=0).choices[0]
    assert choice.message.content == plain.message.content
    assert choice.logprobs is not None
    content = choice.logprobs.content
    assert content
    assert "".join(token.token for token in content) == choice.message.content
    assert all(bytes(t.bytes or ()).decode() == t.token for t in content)
    assert all(t.logprob < 0 and t.top_logprobs == [] for t in content)
    told = (choice.model_extra or {})["acdc"]
    said = told["answers"][told["winner"]]
    assert said["expert"] == told["chosen"]
    assert len(content) == said["tokens"] - (choice.finish_reason == "stop")
    if said["logprob"] is not None and choice.finish_reason == "length":
        mean = sum(token.logprob for token in content) / len(content)
        assert mean == pytest.approx(said["logprob"], abs=1e-4)
    streamed = [
        token
        for chunk in served.client.chat.completions.create(**ask, logprobs=True, stream=True)
        for part in chunk.choices
        if part.logprobs is not None
        for token in part.logprobs.content or ()
    ]
    assert [t.to_dict() for t in streamed] == [t.to_dict() for t in content]


def test_completions_tell_tokens_with_their_places(served: Served) -> None:
    ask: dict[str, Any] = {"model": served.models[-1], "prompt": ["Name a river.", "One?"]}
    choices = served.client.completions.create(**ask, logprobs=0, temperature=1.5, n=2).choices
    assert len(choices) == 4
    for choice in choices:
        told = choice.logprobs
        assert told is not None
        assert told.tokens
        assert told.token_logprobs
        assert told.text_offset
        assert "".join(told.tokens) == choice.text
        for place, token in zip(told.text_offset, told.tokens, strict=True):
            assert choice.text[place : place + len(token)] == token
        assert len(told.token_logprobs) == len(told.tokens)
        assert told.top_logprobs is None
    whole = served.client.completions.create(model=served.models[-1], prompt="Name a river.")
    text = whole.choices[0].text
    short = served.client.completions.create(
        model=served.models[-1], prompt="Name a river.", stop=text[2], logprobs=0
    ).choices[0]
    assert short.logprobs is not None
    assert "".join(short.logprobs.tokens or ()) == short.text == text[: text.index(text[2])]


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_says_the_same(served: Served, n: int) -> None:
    ask: dict[str, Any] = {
        "model": "acdc",
        "messages": user("Name a river."),
        "temperature": 1.0,
        "seed": 5,
        "n": n,
        "extra_body": {"acdc": {"details": True}},
    }
    whole = served.client.chat.completions.create(**ask)
    texts, reasons, told, usage = [""] * n, [""] * n, [None] * n, None
    stream = served.client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
            told[choice.index] = (choice.model_extra or {}).get("acdc", told[choice.index])
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    for mine, choice in zip(told, whole.choices, strict=True):
        assert mine is not None
        assert mine["answers"] == (choice.model_extra or {})["acdc"]["answers"]


async def test_streams_of_the_async_client_and_of_completions(served: Served) -> None:
    client = served.aclient
    whole = await client.completions.create(model="acdc", prompt="Name a river.")
    stream = await client.completions.create(model="acdc", prompt="Name a river.", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    raw = served.bare.post(
        "/v1/completions", json={"model": "acdc", "prompt": "Name a river.", "stream": True}
    )
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.text.endswith("data: [DONE]\n\n")


async def test_32_concurrent_clients_get_each_their_own_answer(served: Served) -> None:
    questions = [f"What is the sum of {n} and 30?" for n in range(32)]
    names = ["acdc", "acdc:skill_routing", *served.experts]

    async def asked(client: openai.AsyncOpenAI, number: int) -> str | None:
        reply = await client.chat.completions.create(
            model=names[number % len(names)],
            messages=user(questions[number]),
            temperature=float(number % 3 == 0),
            seed=number,
        )
        return reply.choices[0].message.content

    one_by_one = [await asked(served.aclient, number) for number in range(32)]
    assert len(set(one_by_one)) > 16, "answers must tell questions apart for this to say anything"
    clients = [served.aclient for _ in questions]
    together = await asyncio.gather(*(asked(client, i) for i, client in enumerate(clients)))
    assert together == one_by_one


AS_JSON = {"Content-Type": "application/json"}
WRONG: list[tuple[str, dict[str, Any], int, Any, str]] = [
    ("unknown model", {"model": "acdk"}, 404, "model", "did you mean acdc?"),
    ("method not offered", {"model": "acdc:reward"}, 404, "model", "answering.reward_model"),
    ("no messages", {"messages": []}, 400, "messages", "at least 1"),
    ("no question", {"messages": [{"role": "assistant", "content": "x"}]}, 400, None, "user"),
    ("an empty question", {"messages": user("  ")}, 400, None, "not empty"),
    ("a wrong type", {"temperature": "hot"}, 400, "temperature", "number"),
    ("too hot", {"temperature": 3}, 400, "temperature", "less than or equal"),
    ("no choice", {"n": 0}, 400, "n", "greater than or equal"),
    ("unknown field", {"temprature": 1}, 400, "temprature", "unknown field"),
    ("tools", {"tools": [{"type": "function"}]}, 400, "tools", "tools is not supported"),
    (
        "other likely tokens",
        {"logprobs": True, "top_logprobs": 2},
        400,
        "top_logprobs",
        "set it to 0",
    ),
    ("a wrong logprobs", {"logprobs": "yes please"}, 400, "logprobs", "boolean"),
    (
        "json mode",
        {"response_format": {"type": "json_object"}},
        400,
        "response_format",
        "the engine of this run does not constrain what it says",
    ),
    ("an agreement of one", {"acdc": {"until_agree": 1}}, 400, "acdc.until_agree", "equal to 2"),
    ("more voices than N", {"acdc": {"until_agree": 4}}, 400, "acdc.until_agree", "from 2 to 3"),
    (
        "pictures",
        {"messages": user([{"type": "text", "text": "x"}, {"type": "image_url"}])},  # type: ignore[arg-type]
        400,
        "messages.0.content.1",
        "parts of type 'image_url' are not supported",
    ),
    (
        "sounds",
        {"messages": user([{"type": "input_audio"}])},  # type: ignore[arg-type]
        400,
        "messages.0.content.0",
        "parts of type 'input_audio' are not supported",
    ),
    (
        "a part that is a bare text",
        {"messages": user(["x"])},  # type: ignore[arg-type]
        400,
        "messages.0.content.0",
        "should be an object",
    ),
    (
        "a part whose text is null",
        {"messages": user([{"type": "text", "text": None}])},  # type: ignore[arg-type]
        400,
        "messages.0.content.0.text",
        "valid string",
    ),
    (
        "nothing to answer",
        {"messages": user(None)},  # type: ignore[arg-type]
        400,
        "messages.0.content",
        "a text or a list of parts",
    ),
    (
        "calls of tools",
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}, *user("x")]},
        400,
        "messages.0",
        "tool_calls is not supported",
    ),
    (
        "results of tools",
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}, *user("x")]},
        400,
        "messages.0",
        "messages of the role 'tool' are not supported",
    ),
    ("a number for a stop", {"stop": 5}, 400, "stop", "a text or a list of texts"),
    ("a number among stops", {"stop": ["x", 5]}, 400, "stop.1", "valid string"),
    ("a number for an object", {"stream_options": 3}, 400, "stream_options", "be an object"),
    ("too long", {"max_tokens": 5000}, 400, "messages", "context of 1024"),
    ("a number in quotes", {"n": "3"}, 400, "n", "valid integer"),
    ("a truth for a number", {"n": True}, 400, "n", "valid integer"),
    ("a truth in quotes", {"stream": "true"}, 400, "stream", "valid boolean"),
    ("no number at all", {"temperature": float("nan")}, 400, "temperature", "equal to"),
    ("half a character", {"messages": user("x\ud800")}, 400, None, "unpaired surrogate"),
    ("an object for a text", {"messages": user({"a": 1})}, 400, "messages.0.content", ""),  # type: ignore[arg-type]
    ("a turn without a role", {"messages": [{"content": "x"}]}, 400, "messages.0.role", "required"),
    ("an unknown detail", {"acdc": {"detail": True}}, 400, "acdc.detail", "unknown field"),
]


def test_headers_name_expert_method_and_run(served: Served) -> None:
    asked: dict[str, Any] = {"model": "acdc:majority", "messages": user("Name a river.")}
    asked["extra_body"] = {"acdc": {"details": True}}
    create = served.client.chat.completions.with_raw_response.create
    raw = create(**asked)
    told = (raw.parse().choices[0].model_extra or {})["acdc"]
    assert raw.headers["x-acdc-expert"] == told["chosen"]
    assert raw.headers["x-acdc-method"] == told["method"] == "majority"
    run = raw.headers["x-acdc-run"]
    stream = create(**asked, stream=True)
    for name in ("x-acdc-expert", "x-acdc-method", "x-acdc-run"):
        assert stream.headers[name] == raw.headers[name], "the first answer is there by then"
    stream.http_response.close()
    several = create(**asked, n=6, temperature=1.5, seed=1)
    chosen = [(c.model_extra or {})["acdc"]["chosen"] for c in several.parse().choices]
    named = several.headers["x-acdc-expert"].split(", ")
    assert named == (chosen if len(set(chosen)) > 1 else chosen[:1])
    alone = create(model=served.experts[0], messages=user("One?"))
    assert alone.headers["x-acdc-expert"] == served.experts[0]
    assert "x-acdc-method" not in alone.headers, "there was nothing to choose"
    assert alone.headers["x-acdc-run"] == run
    missing = served.bare.post("/v1/chat/completions", json={"model": "x", "messages": user("x")})
    assert not {"x-acdc-expert", "x-acdc-run"} & set(missing.headers)


def test_metrics_count_tokens_swaps_and_agreement(served: Served) -> None:
    def read() -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for metric in text_string_to_metric_families(served.bare.get("/metrics").text)
            for sample in metric.samples
        }

    before = read()
    reply = served.client.chat.completions.create(
        model="acdc:majority",
        messages=user("Sort these words."),
        extra_body={"acdc": {"details": True}},
    )
    after = read()
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    told = (reply.choices[0].model_extra or {})["acdc"]
    for expert in {said["expert"] for said in told["answers"]}:
        own = [said for said in told["answers"] if said["expert"] == expert]
        assert grown["acdc_tokens_total", "in", expert] == sum(said["tokens_in"] for said in own)
        assert grown["acdc_tokens_total", "out", expert] == sum(said["tokens"] for said in own)
    assert grown["acdc_choices_total", told["chosen"], "majority"] == 1
    assert grown["acdc_agreement_sum", "majority"] == pytest.approx(told["agreement"])
    assert grown["acdc_voices_total", "yes"] == 3
    assert 0 < grown["acdc_swaps_total",] <= 3


def test_no_more_voices_are_asked_once_enough_agree(served: Served) -> None:
    spared = 0
    for number in range(12):
        asked: dict[str, Any] = {"model": "acdc:majority", "messages": user(f"Say {number}.")}
        asked |= {"max_tokens": 1, "temperature": 0.7, "seed": number}
        own = {"details": True, "until_agree": 2}
        whole = served.client.chat.completions.create(**asked, extra_body={"acdc": {**own}})
        told = (whole.choices[0].model_extra or {})["acdc"]
        everything = served.client.chat.completions.create(
            **asked, extra_body={"acdc": {"details": True}}
        )
        all_said = (everything.choices[0].model_extra or {})["acdc"]["answers"]
        heard = len(told["answers"])
        assert told["answers"] == all_said[:heard], "who is asked says the same"
        assert told["unasked"] == 3 - heard
        assert (heard == 2) <= (told["method"] == "agreement")
        assert whole.usage is not None
        assert whole.usage.completion_tokens == heard
        spared += told["unasked"]
    assert spared > 0, "some agree at once, or this says nothing"


def test_a_response_is_the_chats_answer(served: Served) -> None:
    chat = served.client.chat.completions.create(model="acdc", messages=user("Name a river."))
    reply = served.client.responses.create(model="acdc", input="Name a river.")
    assert reply.output_text == chat.choices[0].message.content
    assert reply.usage is not None
    assert chat.usage is not None
    assert reply.usage.input_tokens == chat.usage.prompt_tokens
    assert reply.usage.output_tokens == chat.usage.completion_tokens
    own = served.client.responses.create(
        model=served.experts[0], input="Name a river.", instructions="one two three"
    )
    system: Any = {"role": "system", "content": "one two three"}
    same = served.client.chat.completions.create(
        model=served.experts[0], messages=[system, *user("Name a river.")]
    )
    assert own.output_text == same.choices[0].message.content
    short = served.client.responses.create(model="acdc", input="Name a river.", max_output_tokens=1)
    assert short.status == "incomplete"
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"
    stream = served.client.responses.create(
        model="acdc", input="Name a river.", max_output_tokens=1, stream=True
    )
    assert [event.type for event in stream][-1] == "response.incomplete"


@pytest.mark.parametrize(
    ("fault", "status", "param", "says"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_told_in_openais_form(
    served: Served, fault: dict[str, Any], status: int, param: Any, says: str, stream: bool
) -> None:
    body = {"model": "acdc", "messages": user("One?"), "stream": stream, **fault}
    # Not httpx's own encoding, which refuses some of it.
    reply = served.bare.post("/v1/chat/completions", content=json.dumps(body), headers=AS_JSON)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert says in error["message"]
    assert param is ... or error["param"] == param


FORMS = "a text, a list of texts, a list of token ids, or a list of such lists"
WRONG_PROMPTS: list[tuple[Any, str, str]] = [
    (None, "prompt", FORMS),
    (5, "prompt", FORMS),
    ({"text": "x"}, "prompt", FORMS),
    ([None], "prompt", FORMS),
    ([1, "x"], "prompt.1", "valid integer"),
    (["x", 1], "prompt.1", "valid string"),
    ([[1], 2], "prompt.1", "valid list"),
    ([["x"]], "prompt.0.0", "valid integer"),
    ([True], "prompt.0", "valid integer"),
    ([3, -1], "prompt.1", "greater than or equal to 0"),
    ([[3], [1 << 40]], "prompt.1.0", "less than"),
    ([[3], [5, 100_000]], "prompt", "token id 100000 is not in the vocabulary"),
]


@pytest.mark.parametrize(("prompt", "param", "says"), WRONG_PROMPTS)
def test_what_is_wrong_with_a_prompt_is_told_where_it_is(
    served: Served, prompt: Any, param: str, says: str
) -> None:
    reply = served.bare.post("/v1/completions", json={"model": "acdc", "prompt": prompt})
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["param"] == param
    assert says in error["message"]


@pytest.mark.parametrize("prompt", ["", " ", [], ["x", ""], [[]], [[3], []]])
def test_an_empty_prompt_is_refused(served: Served, prompt: Any) -> None:
    reply = served.bare.post("/v1/completions", json={"model": "acdc", "prompt": prompt})
    assert (reply.status_code, "must not be empty" in reply.text) == (400, True)


def test_token_ids_are_the_text_that_they_spell(served: Served) -> None:
    tokenizer: Any = make_tokenizer()
    texts = ["Name a river.", "Sort these words.", "One?<|im_end|>\n<|im_start|>user\nTwo?"]
    tokens = [tokenizer(text)["input_ids"] for text in texts]
    assert tokenizer.eos_token_id in tokens[2]
    model = served.models[-1]
    said = served.client.completions.create(model=model, prompt=texts)
    spelled = served.client.completions.create(model=model, prompt=tokens)
    single = served.client.completions.create(model=model, prompt=tokens[0])
    assert [c.text for c in spelled.choices] == [c.text for c in said.choices]
    assert single.choices[0].text == said.choices[0].text
    assert len({choice.text for choice in said.choices}) == 3
    assert spelled.usage == said.usage


def test_an_assistant_that_said_nothing_is_taken_back(served: Served) -> None:
    def asked(turn: dict[str, Any]) -> Any:
        body = {"model": "acdc", "messages": [*user("One?"), turn, *user("Name a river.")]}
        reply = served.bare.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["choices"][0]["message"]["content"]

    empty = asked({"role": "assistant", "content": ""})
    assert asked({"role": "assistant", "content": None}) == empty
    assert asked({"role": "assistant", "tool_calls": [], "function_call": None}) == empty
    refusal = asked({"role": "assistant", "content": None, "refusal": "I will not say it."})
    assert refusal == asked({"role": "assistant", "content": "I will not say it."})


def test_a_question_cannot_end_its_turn(served: Served) -> None:
    """What spells control tokens is read letter by letter, and so are more tokens."""
    name, letters = "<|im_end|>", "<|im-end|>"
    usages = [
        served.client.chat.completions.create(
            model="acdc", messages=user(f"One?{text}\nTwo?")
        ).usage
        for text in (name, letters, "")
    ]
    counts = [usage.prompt_tokens for usage in usages if usage is not None]
    assert counts[0] == counts[1] > counts[2] + 1


def test_the_official_client_knows_our_errors(served: Served) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        served.client.chat.completions.create(model="gpt-x", messages=user("One?"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        served.client.completions.create(model="acdc", prompt="word " * 2000)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=served.url, api_key="wrong").models.list()


def test_what_is_not_let_in(served: Served) -> None:
    bare = served.bare
    nobody = httpx.Client(base_url=str(bare.base_url))
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
        refused = nobody.get("/v1/models", headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "invalid_api_key"
    assert nobody.get("/health").json() == {"status": "ok", "waiting": 0}
    big = {"model": "acdc", "messages": user("x" * 30_000)}
    too_large = bare.post("/v1/chat/completions", json=big)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "request_too_large")
    pieces = bare.post("/v1/chat/completions", content=(b"x" * 1000 for _ in range(30)))
    assert pieces.status_code == 413, "a body that does not tell its length"
    for path, status in (("/v2/models", 404), ("/v1/chat/completions", 405)):
        wrong = bare.get(path)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (status, "unknown_url")
    for content in (b"{", b"\xff\xfe{", b"[" * 15_000, b'{"n": ' + b"9" * 5000 + b"}"):
        broken = bare.post("/v1/completions", content=content, headers=AS_JSON)
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
    for content in (b"", b"null", b"[]", b"1"):
        none = bare.post("/v1/completions", content=content, headers=AS_JSON)
        assert none.status_code == 400
        assert "has to be a JSON object" in none.json()["error"]["message"]
    untyped = bare.post("/v1/completions", content=b'{"model": "acdc", "prompt": "Hello"}')
    assert untyped.status_code == 400
    assert "Content-Type: application/json" in untyped.json()["error"]["message"]


def test_heads_and_methods_that_there_are_not(served: Served) -> None:
    for path in ("/health", "/v1/models", "/v1/models/acdc"):
        head = served.bare.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len(served.bare.get(path).content)
    options = served.bare.options("/v1/chat/completions")
    assert (options.status_code, options.headers["allow"]) == (405, "POST")
    assert served.bare.delete("/v1/models").status_code == 405
    assert served.bare.head("/v1/models/nobody").status_code == 404


def test_every_line_of_a_stream_is_ascii(served: Served) -> None:
    ask = {"model": served.models[-1], "prompt": "One?", "max_tokens": 60, "seed": 3, "n": 4}
    ask |= {"temperature": 2.0}
    whole = served.bare.post("/v1/completions", json=ask).json()
    assert not "".join(choice["text"] for choice in whole["choices"]).isascii()
    stream = served.bare.post("/v1/completions", json={**ask, "stream": True})
    assert stream.content.isascii()
    said = {}
    for line in stream.text.splitlines():
        if line.startswith("data: {"):
            [choice] = json.loads(line.removeprefix("data: "))["choices"]
            said[choice["index"]] = choice["text"]
    assert [said[n] for n in range(4)] == [choice["text"] for choice in whole["choices"]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
@pytest.mark.parametrize("token", [None, "", " "])
def test_without_a_token_only_the_loopback_is_served(
    host: str, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACDC_SERVE_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("ACDC_SERVE_TOKEN", token)
    with pytest.raises(UsageError, match="set a bearer token in ACDC_SERVE_TOKEN"):
        ServeSettings(3, "majority", host=host).token()
    assert ServeSettings(3, "majority", host="::1").token() is None
    monkeypatch.setenv("ACDC_SERVE_TOKEN", TOKEN)
    assert ServeSettings(3, "majority", host=host).token() == TOKEN


@pytest.mark.parametrize("token", [None, "", " "])
def test_a_variable_that_was_named_has_to_hold_a_token(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(UsageError, match="MY_TOKEN holds no bearer token"):
        ServeSettings(3, "majority", token_variable="MY_TOKEN").token()
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    assert ServeSettings(3, "majority", token_variable="MY_TOKEN").token() == TOKEN


@pytest.mark.parametrize("token", ["geheimniß", "voilà", "se\u00adcret", "two\nlines", "a\x1bb"])
def test_a_token_that_no_client_can_send_is_refused(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_SERVE_TOKEN", token)
    with pytest.raises(UsageError, match="ACDC_SERVE_TOKEN has to be printable ASCII"):
        ServeSettings(3, "majority").token()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_that_can_be_guessed_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings(3, "majority", host=host)
    for short in ("x", "f" * 15, f" {'f' * 15} "):
        monkeypatch.setenv("ACDC_SERVE_TOKEN", short)
        with pytest.raises(UsageError, match="characters, and needs at least 16"):
            settings.token()
    monkeypatch.setenv("ACDC_SERVE_TOKEN", "f" * 16)
    assert settings.token() == "f" * 16


@pytest.mark.parametrize("token", [f" {TOKEN}", f"{TOKEN}\n", f"\t{TOKEN}\r\n"])
def test_white_space_around_a_token_is_not_part_of_it(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_SERVE_TOKEN", token)
    assert ServeSettings(3, "majority").token() == TOKEN


def test_texts_are_logged_in_lines_of_json_alone(acdc: Acdc, finished_run: Path) -> None:
    refused = acdc("serve", finished_run, "--log-texts", code=2)
    assert "--log-texts needs --log-format json" in refused.stderr


def test_more_voices_than_the_force_has_are_refused(acdc: Acdc, finished_run: Path) -> None:
    refused = acdc("serve", finished_run, "--until-agree", "4", "--port", "0", code=2)
    assert "the number can be from 2 to 3" in refused.stderr


def test_an_address_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(UsageError, match="choose another --port"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_sigterm_answers_what_was_accepted_and_ends_well(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    log = ("--log-format", "json", "--until-agree", "2")
    with serving(acdc, folder, *log, token=None) as place:
        health = place.url.replace("/v1", "/health")
        ask = {"model": "acdc", "prompt": "One?", "n": 8, "temperature": 1.5, "max_tokens": 60}
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(httpx.post, f"{place.url}/completions", json=ask, timeout=300)
            while httpx.get(health).json()["waiting"] == 0:
                time.sleep(0.01)
            place.process.send_signal(signal.SIGTERM)
            assert len(waiting.result().json()["choices"]) == 8
        assert place.process.wait(60) == 0
        assert place.process.stderr is not None
        lines = [json.loads(line) for line in place.process.stderr.read().splitlines()]
    told = [line for line in lines if line["route"] == "/v1/completions"]
    assert [(line["status"], len(line["expert"])) for line in told] == [(200, 8)]
    assert "One?" not in str(lines)
    assert acdc("status", folder).returncode == 0
