"""What may be asked: the bodies of requests.

A field that would change the answer and that we cannot honour is refused; one that changes nothing
is accepted and ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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

Stop = Annotated[str, Field(min_length=1)]


def _none_beside(count: int | None) -> int | None:
    if count:
        raise ValueError("only log-probabilities of the chosen tokens are available: set it to 0")
    return count


NoAlternatives = Annotated[int | None, Field(ge=0), AfterValidator(_none_beside)]
"""How many likely tokens are wanted beside each chosen one: only 0 is supported."""


class _Strict(BaseModel):
    """An unknown field is an error, and so is a number or a truth in quotes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Details(_Strict):
    """Our own field: what the answer carries beside OpenAI's fields.

    Attributes:
        details: who said what, the scores and the votes.
    """

    details: bool = False


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
    """What both kinds of requests share."""

    model: str
    n: int | None = Field(default=None, ge=1, le=MOST_ANSWERS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    acdc: Details = Details()

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, body: Any) -> Any:
        """Refuse what we cannot honour, and drop what asks for nothing."""
        if not isinstance(body, dict):
            return body
        _require_whole_characters(body)
        for name, values in NEUTRAL.items():
            if name in body and body[name] not in values:
                raise ValueError(f"{name} is not supported")
        return {key: value for key, value in body.items() if key not in IDLE | NEUTRAL.keys()}

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts before which a reply ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply."""
        return self.max_tokens

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted."""
        return False


class TextPart(BaseModel):
    """A piece of a message; pictures and sounds are not understood."""

    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """One message; what else clients keep in it (`name`, `refusal`) says nothing to an expert."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """Its text in one piece."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatRequest(AnswerRequest):
    """Body of /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: NoAlternatives = None

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted."""
        return bool(self.logprobs)

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> Self:
        """Whoever asks must have the last word."""
        if self.messages[-1].role != "user" or not self.messages[-1].text.strip():
            raise ValueError("the last message must be a user's, and not empty")
        return self

    @property
    def longest(self) -> int | None:
        """Most tokens of a reply; the newer name wins."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(AnswerRequest):
    """Body of /v1/completions."""

    prompt: str | list[str]
    logprobs: NoAlternatives = None

    @property
    def spelled(self) -> bool:
        """Whether the log-probability of each token is wanted; 0 wants no other ones beside it."""
        return self.logprobs is not None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Refuse empty prompts, and too many of them."""
        prompts = self.prompts
        if not prompts or not all(prompt.strip() for prompt in prompts):
            raise ValueError("prompt must not be empty")
        if len(prompts) * (self.n or 1) > MOST_ANSWERS:
            raise ValueError(f"prompts times n must not exceed {MOST_ANSWERS}")
        return self

    @property
    def prompts(self) -> list[str]:
        """All prompts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt
