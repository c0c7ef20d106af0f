"""JSON mode: what reaches the experts of a run with vLLM, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from console.serving.formats import LARGEST_SCHEMA, NamedSchema
from tests.console.serving.place import Place

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place(queue=3, engine="vllm")
    await found.ready.wait()
    found.voice.go.set()
    yield found
    await found.end()


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
        ({"type": "text"}, None),
        (None, None),
    ],
)
async def test_a_chat_carries_its_schema_to_every_voice(
    place: Place, form: Any, schema: Any
) -> None:
    reply = await place.ask(response_format=form)
    assert reply.status_code == 200, reply.text
    [given] = place.voice.constrained
    assert (None if given is None else json.loads(given)) == schema


async def test_a_response_carries_its_schema_and_repeats_it(place: Place) -> None:
    client = openai.AsyncOpenAI(base_url=place.url, api_key="-", max_retries=0)
    form: Any = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}
    reply = await client.responses.create(model="acdc", input="one", text={"format": form})
    [given] = place.voice.constrained
    assert json.loads(given or "") == SCHEMA
    assert reply.text is not None
    assert reply.text.format is not None
    assert reply.text.format.model_dump(by_alias=True, exclude_none=True) == form


@pytest.mark.parametrize(
    ("form", "param", "said"),
    [
        ({"type": "json"}, "response_format", "'json_schema'"),
        ({"type": "json_schema"}, "response_format.json_schema", "required"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema", "required"),
        (
            {"type": "json_schema", "json_schema": {"schema": "{}"}},
            "response_format.json_schema.schema",
            "valid dictionary",
        ),
        ({"type": "json_object", "depth": 3}, "response_format.depth", "unknown field"),
    ],
)
async def test_what_is_no_format_is_refused(place: Place, form: Any, param: str, said: str) -> None:
    reply = await place.ask(response_format=form)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert error["param"].startswith(param)
    assert said in error["message"]
    assert not place.voice.begun


async def test_completions_are_never_constrained(place: Place) -> None:
    client = openai.AsyncOpenAI(base_url=place.url, api_key="-", max_retries=0)
    more = {"response_format": {"type": "json_object"}}
    with pytest.raises(openai.BadRequestError, match="only chats and responses"):
        await client.completions.create(model="acdc", prompt="one", extra_body=more)


def test_a_schema_has_a_largest_size() -> None:
    def of(length: int) -> dict[str, Any]:
        empty = len(json.dumps({"enum": [""]}))
        return {"schema": {"enum": ["x" * (length - empty)]}}

    assert len(NamedSchema.model_validate(of(LARGEST_SCHEMA)).as_schema) == LARGEST_SCHEMA
    with pytest.raises(ValueError, match="up to 32768 characters"):
        NamedSchema.model_validate(of(LARGEST_SCHEMA + 1))
