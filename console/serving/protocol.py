"""What may be asked: the bodies of requests.

A field that would change the answer and that we cannot honour is refused; one that changes nothing
is accepted and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from agents.task_force.agreement import FEWEST
from console.serving.failures import UNSUPPORTED
from console.serving.formats import ChatFormat
from console.serving.turns import Turn, form_of, or_else, require_question

MOST_ANSWERS = 128
"""Choices of one request, over all of its prompts."""
MOST_STOPS = 16

IDLE = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
    }
)
"""Fields without an effect on the answer."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "echo": (None, False),
    "suffix": (None, ""),
    "best_of": (None, 1),
}
"""Fields that we cannot honour -> the values with which they ask for nothing."""
WHY = {
    "response_format": "only chats and responses are constrained",
    "previous_response_id": "nothing is stored; send the conversation in input",
    "conversation": "nothing is stored; send the conversation in input",
}
"""Why some of them are not, where that helps."""


def _form_of_prompt(value: Any) -> str | None:
    return f"list of {form_of((value or [''])[0])}" if isinstance(value, list) else form_of(value)


Stop = Annotated[str, Field(min_length=1)]
Stops = Annotated[
    Annotated[Stop, Tag("text")] | Annotated[list[Stop], Field(max_length=MOST_STOPS), Tag("list")],
    or_else("a text or a list of texts"),
]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Prompts = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Tag("list of text")]
    | Annotated[list[TokenId], Tag("list of number")]
    | Annotated[list[list[TokenId]], Tag("list of list")],
    or_else(
        "a text, a list of texts, a list of token ids, or a list of such lists", _form_of_prompt
    ),
]
Prompt = str | list[int]


def _none_beside(count: int | None) -> int | None:
    if count:
        raise ValueError("only log-probabilities of the chosen tokens are available: set it to 0")
    return count


NoAlternatives = Annotated[int | None, Field(ge=0), AfterValidator(_none_beside)]
"""How many likely tokens are wanted beside each chosen one: only 0 is supported."""


class _Strict(BaseModel):
    """An unknown field is an error, and so is a number or a truth in quotes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Own(_Strict):
    """Our own field, `acdc`.

    Attributes:
        details: whether the answer carries who said what, the scores and the votes.
        until_agree: as many voices have to agree, and no more are asked.
    """

    details: bool = False
    until_agree: int | None = Field(default=None, ge=FEWEST)


class StreamOptions(_Strict):
    """What a stream carries at its end.

    Attributes:
        include_obfuscation: accepted, and without an effect.
    """

    include_usage: bool = False
    include_obfuscation: bool = False


def _require_whole_characters(body: dict[str, Any]) -> None:
    """JSON may name half of a pair of surrogates, which no text in UTF-8 can hold."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "the body holds an unpaired surrogate, which is not valid Unicode"
        ) from None


class AnswerRequest(_Strict):
    """What all kinds of requests share.

    Attributes:
        idle: fields without an effect.
        neutral: fields that we cannot honour -> the values with which they ask for nothing.
        format_field: the field that says what replies are constrained to.
    """

    format_field: ClassVar[str] = "response_format"
    idle: ClassVar[frozenset[str]] = IDLE
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = NEUTRAL

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stream: bool | None = None
    acdc: Own = Own()

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, body: Any) -> Any:
        """Refuse what we cannot honour, and drop what asks for nothing."""
        if not isinstance(body, dict):
            return body
        _require_whole_characters(body)
        for name, values in cls.neutral.items():
            if name in body and body[name] not in values:
                why = f": {WHY[name]}" if name in WHY else ""
                told = {"name": name, "why": why}
                raise PydanticCustomError(UNSUPPORTED, "{name} is not supported{why}", told)
        return {k: value for k, value in body.items() if k not in cls.idle | cls.neutral.keys()}

    @property
    def copies(self) -> int:
        """Choices per question."""
        return 1

    @property
    def drawn_from(self) -> int | None:
        """The seed of sampling."""
        return None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts before which a reply ends."""
        return ()

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply."""
        return None

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted."""
        return False

    @property
    def json_schema(self) -> str | None:
        """JSON schema that a reply is constrained to; None where it is a text of any kind."""
        return None


class ChoicesRequest(AnswerRequest):
    """What chats and completions share."""

    n: int | None = Field(default=None, ge=1, le=MOST_ANSWERS)
    seed: int | None = None
    stop: Stops | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    @property
    def copies(self) -> int:
        """Choices per question."""
        return self.n or 1

    @property
    def drawn_from(self) -> int | None:
        """The seed of sampling."""
        return self.seed

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts before which a reply ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply."""
        return self.max_tokens


class ChatRequest(ChoicesRequest):
    """Body of /v1/chat/completions."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        name: values for name, values in NEUTRAL.items() if name != "response_format"
    }

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: NoAlternatives = None
    response_format: ChatFormat | None = None

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted."""
        return bool(self.logprobs)

    @property
    def json_schema(self) -> str | None:
        """JSON schema that a reply is constrained to; None where it is a text of any kind."""
        return None if self.response_format is None else self.response_format.as_schema

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> Self:
        require_question(self.messages)
        return self

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply; the newer name wins."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(ChoicesRequest):
    """Body of /v1/completions."""

    prompt: Prompts
    logprobs: NoAlternatives = None

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted; 0 wants no other ones beside it."""
        return self.logprobs is not None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Refuse empty prompts, and too many of them."""
        prompts = self.prompts
        spoken = (prompt.strip() if isinstance(prompt, str) else prompt for prompt in prompts)
        if not prompts or not all(spoken):
            raise ValueError("prompt must not be empty")
        if len(prompts) * self.copies > MOST_ANSWERS:
            raise ValueError(f"prompts times n must not exceed {MOST_ANSWERS}")
        return self

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All prompts, each a text or the token ids of one."""
        given = self.prompt
        one = isinstance(given, str) or (given and isinstance(given[0], int))
        return cast("Sequence[Prompt]", [given] if one else given)
