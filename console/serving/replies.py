"""The collective's choices in OpenAI's words: whole objects, and the chunks of a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, Protocol

from console.serving.choices import Chosen
from console.serving.failures import HttpRefusal
from memory.records import Token

JsonObject = dict[str, Any]


class Form(Protocol):
    """How one request is to be answered, as one object or event by event."""

    @property
    def sentinel(self) -> bool:
        """Whether a stream ends with `[DONE]`."""
        ...

    def whole(self, choices: Sequence[Chosen]) -> JsonObject:
        """The object of a reply that is no stream."""
        ...

    def begun(self) -> list[JsonObject]:
        """What a stream says before there is an answer."""
        ...

    def chunks(self, chosen: Chosen) -> list[JsonObject]:
        """What it says of a choice."""
        ...

    def ended(self, choices: Sequence[Chosen]) -> list[JsonObject]:
        """What it says at its end."""
        ...

    def failed(self, refusal: HttpRefusal) -> list[JsonObject]:
        """What it says instead, where a choice came to nothing."""
        ...


@dataclass(frozen=True)
class ReplyForm:
    """How a chat or a completion is to be answered.

    Attributes:
        kind: which endpoint was asked.
        model: the name that was asked for.
        n: choices per question.
        details: whether each choice says which expert said what.
        logprobs: whether each choice has its tokens with their log-probabilities.
        usage: whether a stream says at its end what it took.
    """

    kind: Literal["chat", "text"]
    model: str
    n: int = 1
    details: bool = False
    logprobs: bool = False
    usage: bool = False
    sentinel: bool = True
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Chosen]) -> JsonObject:
        """The object of a reply that is no stream."""
        name = "chat.completion" if self.kind == "chat" else "text_completion"
        return {
            **self._head(name),
            "choices": [self._choice(chosen) for chosen in choices],
            "usage": usage(choices, self.n),
        }

    def opening(self, index: int) -> JsonObject:
        """First chunk of a choice: who speaks."""
        delta = {"role": "assistant", "content": ""}
        return self._chunk({"index": index, "delta": delta, "logprobs": None, **_GOES_ON})

    def chunks(self, chosen: Chosen) -> list[JsonObject]:
        """What was chosen, and that it is all."""
        closing = {"finish_reason": chosen.finish_reason, **self._who(chosen)}
        if self.kind == "text":
            choice = {"index": chosen.index, "text": chosen.text, "logprobs": self._spelled(chosen)}
            return [self._chunk({**choice, **closing})]
        index, spelled = chosen.index, self._spelled(chosen)
        said = {"index": index, "delta": {"content": chosen.text}, "logprobs": spelled}
        return [
            self.opening(index),
            self._chunk({**said, **_GOES_ON}),
            self._chunk({"index": index, "delta": {}, "logprobs": None, **closing}),
        ]

    def begun(self) -> list[JsonObject]:
        """Nothing is said before there is an answer."""
        return []

    def ended(self, choices: Sequence[Chosen]) -> list[JsonObject]:
        """Last chunk, for who asked for it: what it took."""
        if not self.usage:
            return []
        name = "chat.completion.chunk" if self.kind == "chat" else "text_completion"
        return [{**self._head(name), "choices": [], "usage": usage(choices, self.n)}]

    def failed(self, refusal: HttpRefusal) -> list[JsonObject]:
        """The headers are gone; clients know an error in the stream by its field."""
        return [refusal.body()]

    def _head(self, name: str) -> JsonObject:
        prefix = "chatcmpl" if self.kind == "chat" else "cmpl"
        return {
            "id": f"{prefix}-{self.id}",
            "object": name,
            "created": self.created,
            "model": self.model,
        }

    def _choice(self, chosen: Chosen) -> JsonObject:
        said: JsonObject = {"text": chosen.text}
        if self.kind == "chat":
            said = {"message": {"role": "assistant", "content": chosen.text, "refusal": None}}
        return {
            "index": chosen.index,
            **said,
            "logprobs": self._spelled(chosen),
            "finish_reason": chosen.finish_reason,
            **self._who(chosen),
        }

    def _chunk(self, choice: JsonObject) -> JsonObject:
        name = "chat.completion.chunk" if self.kind == "chat" else "text_completion"
        return {**self._head(name), "choices": [choice]}

    def _spelled(self, chosen: Chosen) -> JsonObject | None:
        if not self.logprobs:
            return None
        return of_chat(chosen.tokens) if self.kind == "chat" else of_text(chosen.tokens)

    def _who(self, chosen: Chosen) -> JsonObject:
        return {"acdc": chosen.answer.as_json()} if self.details else {}


_GOES_ON: JsonObject = {"finish_reason": None}


def of_chat(tokens: Sequence[Token]) -> JsonObject:
    """Tokens of a chat's choice: each with its log-probability and its bytes, no alternatives."""
    content = [
        {
            "token": token.text,
            "logprob": token.logprob,
            "bytes": list(token.text.encode()),
            "top_logprobs": [],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def of_text(tokens: Sequence[Token]) -> JsonObject:
    """Tokens of a completion's choice: lists side by side, offsets counted in the text of it."""
    ends = list(accumulate((len(token.text) for token in tokens), initial=0))
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": None,
        "text_offset": ends[:-1],
    }


def usage(choices: Sequence[Chosen], n: int) -> JsonObject:
    """Tokens of a request: each prompt once, and every token that any expert said.

    As with OpenAI's `n`, a prompt is counted once however many answer it; the answers that were not
    chosen were computed too. Greedy choices that are copies of each other were made once.
    """
    asked: dict[int, int] = {}
    made: dict[int, int] = {}
    for chosen in choices:
        said = chosen.answer.answers
        asked[chosen.index // n] = said[0].tokens_in
        made[id(chosen.answer)] = sum(candidate.tokens for candidate in said)
    prompt, completion = sum(asked.values()), sum(made.values())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
