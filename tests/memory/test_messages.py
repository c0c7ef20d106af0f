from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from memory.errors import AcdcError
from memory.messages import (
    FREE_SPACE,
    count_of,
    did_you_mean,
    escaped_in_json,
    first_line,
    first_problem,
    line_ends_spelled,
    not_written,
    visible,
)


class Place(BaseModel):
    port: int = 1
    url: int = 1
    table: int = 1


def problem(**given: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Place.model_validate(given)
    return caught.value


def test_only_a_name_that_is_near_is_suggested() -> None:
    assert did_you_mean("slrp", ["linear", "slerp"]) == " (did you mean slerp?)"
    assert did_you_mean("xyz", ["linear", "slerp"]) == ""


def test_a_value_is_quoted_unless_it_may_be_long_or_hold_a_key() -> None:
    what = "Input should be a valid integer"
    assert first_problem(problem(port=[])).startswith(f"port: {what}")
    assert first_problem(problem(port="x"), quote=True).startswith(f"port = 'x': {what}")
    for name, value in {"url": "https://key@host", "table": {"key": "secret"}}.items():
        assert first_problem(problem(**{name: value}), quote=True).startswith(f"{name}: {what}")


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert first_line(ValueError("\nfirst\nsecond")) == "first"
    assert first_line(KeyError()) == "KeyError"


def test_what_a_terminal_obeys_is_spelled_and_all_else_stays() -> None:
    obeyed = "\x00\x08\r\x1b\x7f\x80\x9b\u202a\u202e\u2066\u2069\ud800"
    assert visible(obeyed) == r"\x00\x08\r\x1b\x7f\x80\x9b\u202a\u202e\u2066\u2069\ud800"
    stays = "\ta\nb\xa0é 語\u3000👩\u200d💻 [bold]\\x1b"
    assert visible(stays) == stays


def test_what_is_not_seen_is_spelled() -> None:
    unseen = "\xad\u061c\u180e\u200b\u200e\u200f\u2060\u2064\ufeff\U000e0001\U000e0041\U000e007f"
    assert visible(unseen) == "".join(ascii(letter)[1:-1] for letter in unseen)
    for joiner in "\u200c\u200d":
        for around in ("{}", "pay{}pal", "{}a", "語{}語", "a{}", "1{}2", "й{}й", "👩{}"):
            assert visible(around.format(joiner)) == around.format(ascii(joiner)[1:-1])
    # A flag of tags could carry any hidden text, so that it is spelled too.
    assert visible("🏴\U000e0067\U000e007f") == r"🏴\U000e0067\U000e007f"
    assert escaped_in_json('"\U000e0041\u200b"') == r'"\udb40\udc41\u200b"'


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # noqa: RUF001 (Persian)
        "क्\u200dष श्री क्\u200d",  # Hindi
        "র\u200d্য",  # Bengali
        "ශ්\u200dරී",  # Sinhala
        "👩\u200d💻 👨\u200d👩\u200d👧 👩🏽\u200d🚀 ❤\ufe0f\u200d🔥 🧔\u200d♂\ufe0f",
        "\u0600١٢",  # noqa: RUF001 (a number sign of Arabic is seen)
    ],
)
def test_joiners_stay_where_they_shape_what_is_read(text: str) -> None:
    assert visible(text) == text
    assert escaped_in_json(text) == text


@given(st.text(st.characters()))
def test_json_means_the_same_with_what_a_terminal_obeys_escaped(text: str) -> None:
    written = escaped_in_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert json.loads(written) == {text: [text]}
    assert visible(written) == written


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), f"disk is full: {FREE_SPACE}"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), f"disk is full: {FREE_SPACE}"),
        (ValueError("I/O error: No space left on device (os error 28)"), FREE_SPACE),
        (
            OSError(errno.EACCES, "Permission denied"),
            "tasks/a cannot be written: Permission denied",
        ),
    ],
)
def test_what_cannot_be_written_says_what_helps(error: Exception, said: str) -> None:
    text = not_written("tasks/a", error)
    assert text.startswith("tasks/a cannot be written")
    assert text.endswith(said)


def test_one_is_singular() -> None:
    assert count_of(1, "family") == "1 family"
    assert count_of(0, "family") == "0 families"
    assert [count_of(n, "more item") for n in (1, 2)] == ["1 more item", "2 more items"]


@given(st.text())
def test_a_message_is_line_ends_spelled_whatever_it_quotes(quoted: str) -> None:
    said = str(AcdcError(f"tensor {quoted} is no factor"))
    assert len(said.splitlines()) == 1
    assert said == line_ends_spelled(said)


def test_a_line_end_in_a_message_is_spelled() -> None:
    assert str(AcdcError("a\nb\u2028c")) == "a\\nb\\u2028c"
