"""Settings of who answers for the agents' roles: endpoints, what they inherit, and budgets."""

from __future__ import annotations

from typing import Annotated, Any, Self, get_args

import httpx
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from memory.records import Role
from memory.settings import Settings

OFFLINE = "offline"
"""The base URL that stands for the offline scientist, which needs no server."""


UNSET = "unset"
"""The value of a parameter that is not sent, so that the server's own holds; TOML has no null."""


def _as_none(value: object) -> object:
    return None if value == UNSET else value


_READ = BeforeValidator(_as_none)
_WRITTEN = PlainSerializer(lambda value: UNSET if value is None else value, return_type=Any)

SentFloat = Annotated[float | None, _READ, _WRITTEN]
SentInt = Annotated[int | None, _READ, _WRITTEN]
"""None within the program is 'unset' in every file."""
OfRole = int | float | str | None
"""What a role says instead: None inherits; the rest is checked as a whole endpoint is."""


class BudgetSettings(Settings):
    """What one role may use in the whole run, resumed parts included; a limit left out is none."""

    calls: int | None = Field(
        default=None, ge=1, description="calls; every attempt counts, failed ones too"
    )
    tokens: int | None = Field(default=None, ge=1, description="prompt and completion tokens")
    seconds: float | None = Field(
        default=None, gt=0, description="duration of all calls added up, retries included"
    )


class EndpointSettings(Settings):
    """An OpenAI-compatible chat endpoint, and how a role uses it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = Field(
        default=OFFLINE,
        description="URL of the API, as in http://localhost:8000/v1; 'offline' needs no server",
    )
    model: str = Field(
        default=OFFLINE, min_length=1, description="model name, as the server's /models lists it"
    )
    api_key_env: str = Field(
        default="",
        description="environment variable that holds the key; '' sends none. The key itself is "
        "never written anywhere",
    )
    temperature: SentFloat = Field(
        default=0.7, ge=0, le=2, description="0 is greedy; 'unset' sends none"
    )
    top_p: SentFloat = Field(
        default=0.95, gt=0, le=1, description="nucleus sampling; 'unset' sends none"
    )
    max_tokens: SentInt = Field(
        default=4096,
        ge=1,
        description="completion tokens of one call, reasoning included; 'unset' sends none",
    )
    send_seed: bool = Field(
        default=True,
        description="send a seed with each request; false for vLLM on a CPU, which it can end",
    )
    timeout: float = Field(default=300.0, gt=0, description="seconds that one request may take")
    concurrency: int = Field(default=8, ge=1, description="calls under way at one time")
    attempts: int = Field(
        default=5, ge=1, description="requests made for one call before it counts as failed"
    )
    backoff: float = Field(
        default=1.0, ge=0, description="seconds before the second attempt; doubled each time"
    )
    longest_pause: float = Field(
        default=60.0, ge=0, description="most seconds between attempts, Retry-After included"
    )
    price_in: float | None = Field(
        default=None,
        ge=0,
        description="USD for a million prompt tokens; gives the cost of a run",
    )
    price_out: float | None = Field(
        default=None, ge=0, description="USD for a million completion tokens"
    )
    budget: BudgetSettings = Field(
        default=BudgetSettings(), description="what the role may use in the whole run"
    )

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """USD for so many tokens; None where no price is configured."""
        if self.price_in is None and self.price_out is None:
            return None
        return (tokens_in * (self.price_in or 0.0) + tokens_out * (self.price_out or 0.0)) / 1e6

    def sampling(self) -> dict[str, float]:
        """The parameters of sampling that are sent."""
        values = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
        }
        return {name: value for name, value in values.items() if value is not None}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse a URL that cannot be called, and half of an endpoint."""
        if self.base_url == OFFLINE:
            if self.model != OFFLINE:
                raise ValueError(f"model is {self.model!r} but base_url is not set")
            return self
        problem = _url_problem(self.base_url)
        if problem:
            raise ValueError(f"base_url {problem}")
        if self.model == OFFLINE:
            raise ValueError(
                f"model is not set: name one that the server offers ({self.base_url}/models)"
            )
        return self


def _url_problem(url: str) -> str:
    """Why a base URL cannot be used, or ""; the URL itself is not quoted: it may hold a key."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        return "must look like http://host:port/v1"
    if parts.userinfo or parts.query:
        return "must hold no key: put the key into a variable and name that in api_key_env"
    return ""


class RoleEndpointSettings(Settings):
    """Where a role departs from the scientist's endpoint; what is left out is the scientist's.

    A role with another `base_url` inherits neither `model` nor `api_key_env`, and one with another
    `base_url` or `model` no prices.
    """

    base_url: str | None = Field(default=None, description="URL of the API")
    model: str | None = Field(default=None, description="model name")
    api_key_env: str | None = Field(default=None, description="variable that holds the key")
    temperature: OfRole = Field(default=None, description="0 is greedy")
    top_p: OfRole = Field(default=None, description="nucleus sampling")
    max_tokens: OfRole = Field(default=None, description="completion tokens of one call")
    send_seed: bool | None = Field(default=None, description="send a seed with each request")
    timeout: float | None = Field(default=None, description="seconds that one request may take")
    concurrency: int | None = Field(default=None, description="calls under way at one time")
    attempts: int | None = Field(default=None, description="requests made for one call")
    backoff: float | None = Field(default=None, description="seconds before the second attempt")
    longest_pause: float | None = Field(default=None, description="most seconds between attempts")
    price_in: float | None = Field(default=None, description="USD for a million prompt tokens")
    price_out: float | None = Field(default=None, description="USD for a million completion tokens")
    budget: BudgetSettings | None = Field(
        default=None,
        description="what the role may use; the limits are the scientist's if left out, but every "
        "role is counted by itself",
    )


class EndpointsSettings(Settings):
    """Who answers for the agents' roles."""

    model_config = ConfigDict(hide_input_in_errors=True)

    scientist: EndpointSettings = Field(
        default=EndpointSettings(), description="proposes and refines task families"
    )
    critic: RoleEndpointSettings = Field(
        default=RoleEndpointSettings(), description="criticises drafts and judges novelty"
    )
    rater: RoleEndpointSettings = Field(
        default=RoleEndpointSettings(), description="grades answers by a rubric"
    )
    chooser: RoleEndpointSettings = Field(
        default=RoleEndpointSettings(), description="chooses among the collective's answers"
    )

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        """Every role must come to a whole endpoint."""
        for role in ("critic", "rater", "chooser"):
            try:
                self.of(role)
            except ValidationError as error:
                reasons = "; ".join(
                    ".".join([role, *map(str, item["loc"])]) + ": " + item["msg"]
                    for item in error.errors()
                )
                raise ValueError(reasons) from None
        return self

    def distinct(self) -> list[Role]:
        """The first role of each server, model and key: those that have to be tried."""
        places: dict[tuple[str, str, str], Role] = {}
        for role in get_args(Role):
            own = self.of(role)
            places.setdefault((own.base_url, own.model, own.api_key_env), role)
        return list(places.values())

    def is_live(self, role: Role) -> bool:
        """Whether a language model plays a role, and not the offline one."""
        return self.of(role).base_url != OFFLINE

    def of(self, role: Role) -> EndpointSettings:
        """The whole endpoint of a role, inherited settings filled in."""
        if role == "scientist":
            return self.scientist
        own: RoleEndpointSettings = getattr(self, role)
        inherited = self.scientist.model_dump()
        if own.base_url not in (None, self.scientist.base_url):
            # One provider's key must not be sent to another, and its models are not the other's.
            del inherited["model"], inherited["api_key_env"]
        if (own.base_url, own.model) != (None, None):
            del inherited["price_in"], inherited["price_out"]
        return EndpointSettings.model_validate(inherited | own.model_dump(exclude_none=True))
