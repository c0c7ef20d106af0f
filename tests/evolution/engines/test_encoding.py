"""Conversations to tokens, and the caches that they need."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from evolution.engines.encoding import EncodedPrompt, Encoder
from evolution.errors import EngineError, PromptTooLongError
from memory.records import ChatMessage
from tests.conftest import make_tokenizer

SYSTEM = ChatMessage(role="system", content="Solve the task. End with one line: Answer: <answer>")
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}"
)


@pytest.fixture
def tokenizer(tiny_family: Any) -> Any:
    return AutoTokenizer.from_pretrained(tiny_family.base)


@pytest.fixture(scope="module")
def byte_tokenizer() -> Any:
    return make_tokenizer()


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


@hypothesis_settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 500))
def test_caches_are_long_enough_and_few(opening: int, rest: int, reply: int) -> None:
    length = EncodedPrompt((0,) * opening, (0,) * rest).cache_length(reply)
    assert length >= opening + rest + reply
    assert length in {256 << k for k in range(10)}


def test_prompts_of_one_system_message_share_their_opening(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, 1000)
    one, two = (encoder.encode([SYSTEM, user(text)], 8) for text in ("one two", "Sort: b a"))
    assert one.opening == two.opening
    assert len(one.opening) > 20
    assert one.rest
    text = tokenizer.decode([*one.opening, *one.rest])
    assert text == tokenizer.apply_chat_template(
        [SYSTEM.model_dump(), user("one two").model_dump()],
        tokenize=False,
        add_generation_prompt=True,
    )


def test_without_a_system_message_there_is_no_opening(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, 1000)
    assert encoder.encode([user("one")], 8).opening == ()
    turns = [SYSTEM, user("a"), ChatMessage(role="assistant", content="b"), user("c")]
    assert encoder.encode(turns, 8).opening == ()


def test_the_context_counts_prompt_and_reply(tokenizer: Any) -> None:
    length = len(Encoder(tokenizer, 1000).encode([user("one")], 8))
    assert len(Encoder(tokenizer, length + 8).encode([user("one")], 8)) == length
    with pytest.raises(PromptTooLongError) as caught:
        Encoder(tokenizer, length + 7).encode([user("one")], 8)
    assert (caught.value.prompt, caught.value.reply, caught.value.context) == (
        length,
        8,
        length + 7,
    )


def test_a_template_without_system_role_gets_its_text_with_the_question(tokenizer: Any) -> None:
    tokenizer.chat_template = NO_SYSTEM
    prompt = Encoder(tokenizer, 1000).encode([SYSTEM, user("one")], 8)
    text = tokenizer.decode([*prompt.opening, *prompt.rest])
    assert text == f"[user]{SYSTEM.content}\n\none"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('never') }}", "never"),
        ("{{ 1 / (messages[0]['content']|length - 3) }}", "division by zero"),
        ("{{ messages[0]['content'] + 3 }}", "can only concatenate"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion"),
    ],
)
def test_a_template_that_refuses_or_fails_is_an_error_of_the_engine(
    template: str, reason: str, tokenizer: Any
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(EngineError, match=f"rejects this conversation: .*{reason}"):
        Encoder(tokenizer, 1000).encode([user("one")], 8)


@hypothesis_settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_reply_is_spelled_as_it_reads_whatever_its_tokens_are(
    data: st.DataObject, byte_tokenizer: Any
) -> None:
    encoder = Encoder(byte_tokenizer, 1000)
    tokens = data.draw(st.lists(st.integers(0, len(byte_tokenizer) - 1), max_size=30))
    logprobs = [-float(place) for place in range(len(tokens))]
    spelled = encoder.spell(tokens, logprobs)
    assert "".join(token.text for token in spelled) == encoder.decode(tokens)
    assert [token.logprob for token in spelled] == logprobs


@hypothesis_settings(deadline=None, max_examples=50)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")))
def test_no_token_ends_within_a_character(text: str, byte_tokenizer: Any) -> None:
    encoder = Encoder(byte_tokenizer, 1000)
    tokens = byte_tokenizer(text, add_special_tokens=False)["input_ids"]
    spelled = encoder.spell(tokens, [0.0] * len(tokens))
    assert "".join(token.text for token in spelled) == text
    assert not any("\ufffd" in token.text for token in spelled)
    long = byte_tokenizer("🙂", add_special_tokens=False)["input_ids"]
    assert [t.text for t in encoder.spell(long, [0.0] * len(long))] == [*[""] * 3, "🙂"]
