"""Which endpoint a role has, and which settings are refused with a line that helps."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agents.chat.endpoints import EndpointsSettings

REMOTE = {
    "base_url": "https://api.example.org/v1",
    "model": "big",
    "api_key_env": "BIG_KEY",
    "temperature": 0.3,
    "budget": {"tokens": 1000},
}


def endpoints(**roles: Any) -> EndpointsSettings:
    return EndpointsSettings.model_validate(roles)


def test_without_settings_every_role_is_offline() -> None:
    assert endpoints().of("chooser").base_url == "offline"


def test_role_without_settings_has_the_scientists() -> None:
    settings = endpoints(scientist=REMOTE)
    assert settings.of("critic") == settings.scientist


def test_role_departs_where_it_says_so() -> None:
    critic = endpoints(scientist=REMOTE, critic={"model": "small", "budget": {"calls": 3}})
    assert critic.of("critic").model == "small"
    assert critic.of("critic").api_key_env == "BIG_KEY"
    assert critic.of("critic").temperature == 0.3
    assert (critic.of("critic").budget.calls, critic.of("critic").budget.tokens) == (3, None)


def test_key_and_model_do_not_follow_to_another_server() -> None:
    own = {"base_url": "http://localhost:8000/v1", "model": "small"}
    settings = endpoints(scientist=REMOTE, critic=own, rater={"base_url": "offline"})
    assert settings.of("critic").api_key_env == ""
    assert settings.of("critic").temperature == 0.3
    assert settings.of("rater").model == "offline"


def test_resolved_settings_keep_inheriting_after_a_round_trip() -> None:
    settings = endpoints(scientist=REMOTE, critic={"temperature": 0})
    again = EndpointsSettings.model_validate_json(settings.model_dump_json())
    assert again == settings
    changed = {**again.model_dump(), "scientist": {**REMOTE, "model": "bigger"}}
    assert endpoints(**changed).of("critic").model == "bigger"


def test_unset_parameters_are_inherited_overruled_and_survive_a_round_trip() -> None:
    unset = {**REMOTE, "temperature": "unset", "max_tokens": "unset"}
    settings = endpoints(
        scientist=unset, critic={"temperature": 0.2, "top_p": "unset"}, rater={"max_tokens": 512}
    )
    again = EndpointsSettings.model_validate_json(settings.model_dump_json())
    assert again == settings
    assert again.scientist.sampling() == {"top_p": 0.95}
    assert again.of("critic").sampling() == {"temperature": 0.2}
    assert again.of("rater").sampling() == {"top_p": 0.95, "max_tokens": 512}
    assert again.of("chooser").sampling() == {"top_p": 0.95}


@pytest.mark.parametrize(
    ("roles", "line"),
    [
        ({"scientist": {"model": "m"}}, "base_url is not set"),
        ({"scientist": {"base_url": "http://h:1/v1"}}, "model is not set"),
        ({"scientist": {**REMOTE, "base_url": "localhost:8000/v1"}}, "must look like"),
        ({"scientist": {**REMOTE, "base_url": "http://h:port/v1"}}, "must look like"),
        ({"scientist": {**REMOTE, "base_url": "http:///v1"}}, "must look like"),
        ({"scientist": {**REMOTE, "base_url": "http://me:secret@h/v1"}}, "api_key_env"),
        ({"scientist": {**REMOTE, "base_url": "http://h/v1?key=secret"}}, "api_key_env"),
        ({"critic": {"temperature": -1}}, "critic.temperature: Input should be greater"),
        ({"critic": {"top_p": "none"}}, "critic.top_p: Input should be a valid number"),
        ({"rater": {"max_tokens": 0.5}}, "rater.max_tokens: Input should be a valid integer"),
        ({"scientist": {**REMOTE, "max_tokens": 0}}, "max_tokens\n  Input should be greater"),
        ({"critic": {"base_url": "http://h/v1"}}, "critic: Value error, model is not set"),
        ({"scientist": {"api_key": "secret"}}, "Extra inputs"),
    ],
)
def test_refused_settings_are_explained_and_no_secret_is_quoted(
    roles: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        endpoints(**roles)
    assert line in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_endpoint_is_tried_once_for_each_server_model_and_key() -> None:
    scientist = {"base_url": "http://a/v1", "model": "m", "api_key_env": "KEY_OF_ONE"}
    same = EndpointsSettings.model_validate({"scientist": scientist})
    assert same.distinct() == ["scientist"]
    others = EndpointsSettings.model_validate(
        {
            "scientist": scientist,
            "critic": {"api_key_env": "KEY_OF_ANOTHER"},
            "rater": {"model": "n"},
            "chooser": {"temperature": 0.0},
        }
    )
    assert others.distinct() == ["scientist", "critic", "rater"]


def test_what_calls_cost_follows_the_model() -> None:
    scientist = {**REMOTE, "price_in": 2.0, "price_out": 10.0}
    settings = EndpointsSettings.model_validate(
        {"scientist": scientist, "critic": {"temperature": 0.0}, "rater": {"model": "another"}}
    )
    assert settings.of("critic").cost(1_000_000, 100_000) == 3.0
    assert settings.of("rater").cost(1_000_000, 100_000) is None
    assert EndpointsSettings().of("chooser").cost(1, 1) is None
