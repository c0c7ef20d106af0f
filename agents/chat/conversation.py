"""A conversation: what is said to a model, and which prompt file wrote the last of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from memory.records import ChatMessage
from prompts import Rendered


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, and the hash of the prompt file that wrote the last of them."""

    messages: tuple[ChatMessage, ...]
    prompt_hash: str

    @classmethod
    def of(cls, rendered: Rendered) -> Self:
        """The conversation that a rendered prompt opens."""
        messages = (ChatMessage(role=role, content=text) for role, text in rendered.messages)
        return cls(tuple(messages), rendered.hash)
