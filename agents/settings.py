"""Settings of the agents' room."""

from __future__ import annotations

from typing import Literal, Self, get_args

import httpx
from pydantic import ConfigDict, Field, ValidationError, model_validator

from memory.records import Role, Sampling
from memory.settings import Settings


class PopulationSettings(Settings):
    """How many experts there are."""

    founders: int = Field(default=8, ge=2, description="experts of generation 0, seeds included")
    capacity: int = Field(default=8, ge=1, description="experts that the archive keeps")
    children: int = Field(default=4, ge=1, description="experts bred in each generation")
    trial_panel: int = Field(
        default=3, ge=0, description="experts that answer a drafted family for the critic"
    )


class PoolSettings(Settings):
    """How many families there are, and how the pool adapts."""

    families: tuple[str, ...] = Field(
        default=(),
        description="folders of families that the pool begins with, as in "
        '["runs/quickstart/tasks"]; scientists fill up the rest',
    )
    capacity: int = Field(default=40, ge=2, description="families that grade at one time")
    founding_waves: int = Field(
        default=4, ge=1, description="rounds of assignments that may fill the founding pool"
    )
    adapt_every: int = Field(default=2, ge=1, description="generations between two adaptations")
    adaptations: int = Field(default=32, ge=0, description="assignments of one adaptation")
    inspirations: int = Field(default=3, ge=0, description="families shown for contrast")
    weak_spots: int = Field(default=5, ge=0, description="failing capabilities told to scientists")
    lately_rejected: int = Field(default=5, ge=0, description="late rejections told to scientists")
    taken_names: int = Field(
        default=100, ge=0, description="names of the newest families told to scientists"
    )
    easy_above: float = Field(
        default=0.5, ge=0, le=1, description="a pass rate above this asks for a harder family"
    )
    novel_share: float = Field(
        default=0.8, ge=0, le=1, description="novel rather than related, at medium pass rates"
    )
    rescue: float = Field(
        default=0.25, ge=0, le=1, description="share of impossible families that get an easier one"
    )


class SandboxSettings(Settings):
    """Where the code of families runs, and what it may use."""

    kind: Literal["auto", "bubblewrap", "docker", "process"] = Field(
        default="auto",
        description="'bubblewrap', 'docker', 'process' (limits only, no isolation: for the "
        "built-in offline families), or 'auto': bubblewrap where it works",
    )
    docker_image: str = Field(
        default="python:3.12-slim",
        min_length=1,
        description="image of kind 'docker': Python, libseccomp, and what families may import",
    )
    allow_unsafe: bool = Field(
        default=False,
        description="run code that an LLM wrote even without isolation (never do this on a machine "
        "that holds anything of value); for one sitting, a run does not remember it",
    )
    guests: int = Field(default=2, ge=1, description="sandbox processes that run at a time")
    seconds: float = Field(
        default=10.0, gt=0, description="wall clock of one step: an import, a scoring"
    )
    memory_mb: int = Field(
        default=1024,
        ge=256,
        description="address space of one process in MiB; the interpreter takes about 250 of it",
    )
    file_mb: int = Field(default=16, ge=1, description="size of scratch files in MiB")
    processes: int = Field(
        default=8, ge=0, description="processes and threads that a family may start"
    )
    output_kb: int = Field(default=256, ge=16, description="size of one result in KiB")
    judge_calls: int = Field(
        default=4, ge=0, description="questions to an LLM judge while one submission is scored"
    )
    judge_characters: int = Field(
        default=16_384, ge=1, description="length of one question to an LLM judge"
    )
    preimport: tuple[str, ...] = Field(
        default=("reasoning_gym",),
        description="modules imported once per sandbox process, where installed, to save time",
    )


class GateSettings(Settings):
    """The gates that a drafted family has to pass."""

    trivial_answers: tuple[str, ...] = Field(
        default=("yes", "no", "true", "false", "0", "1", "a", "b", "none"),
        description="constant answers of which none may pass both instances",
    )
    leak_length: int = Field(
        default=20,
        ge=1,
        description="a reference of this many characters may not stand in its instruction",
    )


class JudgeSettings(Settings):
    """How experts answer the families' instances."""

    max_tokens: int = Field(default=24, ge=1, description="tokens of one answer")
    temperature: float = Field(default=0.0, ge=0.0, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="nucleus sampling")
    samples: int = Field(
        default=1,
        ge=1,
        description="answers per instance; an instance is passed by more than half of them",
    )
    votes: int = Field(
        default=3,
        ge=1,
        description="votes of the rater on each answer to a rated family; more than half decide",
    )

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class ScientistSettings(Settings):
    """How a scientist works on one assignment."""

    max_refinements: int = Field(
        default=3,
        ge=0,
        description="rounds in which a proposal may be changed after its first form",
    )
    critic: bool = Field(
        default=True,
        description="let a critic decide; off, whatever passes the gates is a candidate",
    )


class AnsweringSettings(Settings):
    """How one answer is chosen out of N."""

    passes: int = Field(
        default=3, ge=1, description="how often a chooser or rater is asked about the same answers"
    )
    shown: int = Field(
        default=4000, ge=100, description="characters of each answer that a judge is shown"
    )
    neighbours: int = Field(
        default=8, ge=1, description="families of the history that skill_routing looks at"
    )
    reward_model: str | None = Field(
        default=None,
        description="folder or hub id of a sequence classifier, for the method 'reward'",
    )
    reward_device: str = Field(default="auto", description="where it runs: auto, cpu, cuda:1")


class PromptSettings(Settings):
    """Which prompts the agents and the experts are given."""

    folder: str | None = Field(
        default=None,
        description="folder of prompt files; a file there replaces the built-in one of that name",
    )


OFFLINE = "offline"
"""The base URL that stands for the offline scientist, which needs no server."""


class BudgetSettings(Settings):
    """What one role may use in the whole run, resumed parts included; a limit left out is none."""

    calls: int | None = Field(default=None, ge=1, description="calls; failed ones count")
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
    temperature: float = Field(default=0.7, ge=0, le=2, description="0 is greedy")
    top_p: float = Field(default=0.95, gt=0, le=1, description="nucleus sampling")
    max_tokens: int = Field(
        default=4096, ge=1, description="completion tokens of one call, reasoning included"
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
    budget: BudgetSettings = Field(
        default=BudgetSettings(), description="what the role may use in the whole run"
    )

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

    A role with another `base_url` inherits neither `model` nor `api_key_env`.
    """

    base_url: str | None = Field(default=None, description="URL of the API")
    model: str | None = Field(default=None, description="model name")
    api_key_env: str | None = Field(default=None, description="variable that holds the key")
    temperature: float | None = Field(default=None, description="0 is greedy")
    top_p: float | None = Field(default=None, description="nucleus sampling")
    max_tokens: int | None = Field(default=None, description="completion tokens of one call")
    send_seed: bool | None = Field(default=None, description="send a seed with each request")
    timeout: float | None = Field(default=None, description="seconds that one request may take")
    concurrency: int | None = Field(default=None, description="calls under way at one time")
    attempts: int | None = Field(default=None, description="requests made for one call")
    backoff: float | None = Field(default=None, description="seconds before the second attempt")
    longest_pause: float | None = Field(default=None, description="most seconds between attempts")
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

    def of(self, role: Role) -> EndpointSettings:
        """The whole endpoint of a role, inherited settings filled in."""
        if role == "scientist":
            return self.scientist
        own: RoleEndpointSettings = getattr(self, role)
        inherited = self.scientist.model_dump()
        if own.base_url not in (None, self.scientist.base_url):
            # One provider's key must not be sent to another, and its models are not the other's.
            del inherited["model"], inherited["api_key_env"]
        return EndpointSettings.model_validate(inherited | own.model_dump(exclude_none=True))
