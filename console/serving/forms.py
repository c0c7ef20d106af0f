"""The collective's choices in OpenAI's words: whole objects, and the chunks of a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from agents.answering import CollectiveAnswer
from console.serving.asking import Chosen

Json = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How one request is to be answered.

    Attributes:
        kind: which endpoint was asked.
        model: the name that was asked for.
        n: choices per question.
        details: whether each choice tells who said what.
    """

    kind: Literal["chat", "text"]
    model: str
    n: int = 1
    details: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Chosen]) -> Json:
        """The object of a reply that is no stream."""
        name = "chat.completion" if self.kind == "chat" else "text_completion"
        return {
            **self._head(name),
            "choices": [self._choice(chosen) for chosen in choices],
            "usage": usage(choices, self.n),
        }

    def opening(self, index: int) -> Json:
        """First chunk of a choice: who speaks."""
        delta = {"role": "assistant", "content": ""}
        return self._chunk({"index": index, "delta": delta, "logprobs": None, **_GOES_ON})

    def chunks(self, chosen: Chosen) -> list[Json]:
        """What was chosen, and that it is all."""
        closing = {"finish_reason": chosen.finish_reason, **self._who(chosen)}
        if self.kind == "text":
            choice = {"index": chosen.index, "text": chosen.text, "logprobs": None}
            return [self._chunk({**choice, **closing})]
        base = {"index": chosen.index, "logprobs": None}
        return [
            self.opening(chosen.index),
            self._chunk({**base, "delta": {"content": chosen.text}, **_GOES_ON}),
            self._chunk({**base, "delta": {}, **closing}),
        ]

    def closing(self, choices: Sequence[Chosen]) -> Json:
        """Last chunk, for who asked for it: what it took."""
        name = "chat.completion.chunk" if self.kind == "chat" else "text_completion"
        return {**self._head(name), "choices": [], "usage": usage(choices, self.n)}

    def _head(self, name: str) -> Json:
        prefix = "chatcmpl" if self.kind == "chat" else "cmpl"
        return {
            "id": f"{prefix}-{self.id}",
            "object": name,
            "created": self.created,
            "model": self.model,
        }

    def _choice(self, chosen: Chosen) -> Json:
        said: Json = {"text": chosen.text}
        if self.kind == "chat":
            said = {"message": {"role": "assistant", "content": chosen.text, "refusal": None}}
        return {
            "index": chosen.index,
            **said,
            "logprobs": None,
            "finish_reason": chosen.finish_reason,
            **self._who(chosen),
        }

    def _chunk(self, choice: Json) -> Json:
        name = "chat.completion.chunk" if self.kind == "chat" else "text_completion"
        return {**self._head(name), "choices": [choice]}

    def _who(self, chosen: Chosen) -> Json:
        return {"acdc": who_said_what(chosen.answer)} if self.details else {}


_GOES_ON: Json = {"finish_reason": None}


def who_said_what(answer: CollectiveAnswer) -> Json:
    """The record of one choice, in the words of `acdc ask --json`."""
    return asdict(answer)


def usage(choices: Sequence[Chosen], n: int) -> Json:
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
