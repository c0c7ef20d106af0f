"""Finding the object that a model meant, and telling it what is wrong when there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from agents.chat.failures import retry_after
from agents.chat.replies import split_reasoning
from agents.chat.structured import parse_object, response_schema
from agents.critic.critique import CritiqueReply
from agents.critic.novelty import NoveltyReply
from agents.families.proposal import Proposal


class Note(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str


CODE_WITH_FENCES = "def f():\n    '''```json\n    {\"code\": \"no\"}\n    ```'''\n    return {}"


def parsed(text: str) -> str | None:
    note, problem = parse_object(text, Note, truncated=False)
    assert (note is None) == (problem is not None)
    return note.code if note else None


@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "Sure:\n```json\n{}\n```\nI hope it helps.",
        "Sure:\n```\n{}\n```",
        'First idea:\n```json\n{{"code": "old"}}\n```\nBetter:\n```json\n{}\n```\n',
        "As {{braces}} go, {{}} is none. Here it is: {} That was {{it}}.",
        '{{"code": "old"}} or rather {}',
        "```JSON {} ```",
    ],
)
@pytest.mark.parametrize("code", ["x = 1", CODE_WITH_FENCES, 'a = "{" + "}"', "# ü \u2028 😀"])
def test_object_is_found_in_every_frame(frame: str, code: str) -> None:
    payload = json.dumps({"code": code})
    assert (
        parsed(
            frame.replace("{}", "\0")
            .replace("{{", "{")
            .replace("}}", "}")
            .replace("\0", payload)
            .replace("{" + payload + "}", "{}")
        )
        == code
    )


def test_line_breaks_inside_strings_are_forgiven() -> None:
    assert parsed('{"code": "a\n\tb"}') == "a\n\tb"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"code": "x"', "not valid JSON: Expecting ',' delimiter at line 1, column 13"),
        ('Here:\n```json\n{"code": x}\n```', "not valid JSON: Expecting value at line 3"),
        ('{"code": 3}', "code: Input should be a valid string"),
        ('["code"]', "no complete JSON object"),
        ('{"code": "x", "more": 1}', "more: Extra inputs are not permitted"),
        ('{"code": "\\ud83d"}', "half of a surrogate pair"),
        ('{"code": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"code":' * 5000, "not valid JSON"),
        ("[" * 5000, "no complete JSON object"),
    ],
    ids=range(9),
)
def test_problem_says_what_to_mend(text: str, problem: str) -> None:
    note, said = parse_object(text, Note, truncated=False)
    assert note is None
    assert problem in (said or "")


def test_inside_of_a_broken_object_is_not_taken_for_the_object() -> None:
    text = '{"verdict": "refine", "problems": ["a" "b"], "sub": {"verdict": "maybe"}}'
    assert "not valid JSON" in (parse_object(text, CritiqueReply, truncated=False)[1] or "")


def test_truncated_reply_counts_only_if_it_is_whole() -> None:
    assert parse_object('{"code": "x"}   \n\n', Note, truncated=True)[0] == Note(code="x")
    draft = 'Draft: {"code": "x"} and now for the real one: {"code": "y'
    assert "truncated" in (parse_object(draft, Note, truncated=True)[1] or "")


def test_long_lists_of_problems_are_cut() -> None:
    problem = parse_object('{"x": 1, "y": 2}', Proposal, truncated=False)[1] or ""
    assert problem.count("Field required") == 5
    assert "and 1 more" in problem


@given(st.text(alphabet='{}[]"`:, \\\nacdeojsn1', max_size=80))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    note, problem = parse_object(text.strip(), Note, truncated=False)
    assert (note is None) != (problem is None)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.text(max_size=20))
def test_any_code_survives_a_fence(code: str, prose: str) -> None:
    payload = json.dumps({"code": code})
    prose = prose.replace("{", "").replace("`", "")
    assert parsed(f"{prose}\n```json\n{payload}\n```\n{prose}") == code


@pytest.mark.parametrize(
    ("text", "visible", "reasoning"),
    [
        ("plain", "plain", ""),
        ("<think>a</think>b", "b", "a"),
        ("<think>a</think>\n<think>b</think>c", "c", "a\nb"),
        ("<thinking>a</thinking>b", "b", "a"),
        ("a</think>b", "b", "a"),
        ("<think>a", "", "a"),
        ("say\n<think>a</think>\nmore", "say\n\nmore", "a"),
        ("say\n<think>a", "say", "a"),
        ('{"code": "<think>a</think>"}', '{"code": "<think>a</think>"}', ""),
        ('<think>a</think>{"code": "</think>"}', '{"code": "</think>"}', "a"),
        ('```json\n{"code": "\n<think>"}\n```', '```json\n{"code": "\n<think>"}\n```', ""),
    ],
)
def test_reasoning_is_split_from_what_is_said(text: str, visible: str, reasoning: str) -> None:
    assert split_reasoning(text) == (visible, reasoning)


def objects(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for value in schema.values() for found in objects(value)]


@pytest.mark.parametrize("model", [Proposal, CritiqueReply, NoveltyReply])
def test_schemas_of_agents_can_be_strict(model: type[BaseModel]) -> None:
    schema, strict = response_schema(model)
    assert strict
    assert objects(schema)
    for found in objects(schema):
        assert found["required"] == list(found["properties"])
        assert found["additionalProperties"] is False
    assert not {"default", "minLength", "maxLength"} & set(json.dumps(schema).split('"'))


def test_free_form_objects_are_sent_unstrict() -> None:
    class Free(BaseModel):
        answers: dict[str, str]

    schema, strict = response_schema(Free)
    assert not strict
    assert schema == Free.model_json_schema()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("2.5", 2.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_header(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds
