from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from memory.messages import did_you_mean, first_line, first_problem


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
