"""Messages of a conversation, as clients send them: texts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Tag, model_validator

NO_TEXT = ("tool_calls", "function_call", "audio")
"""What a message may hold besides its text, and no expert can read."""


def form_of(value: Any) -> str | None:
    """What a value is, by which unions choose their branch.

    Left to itself, pydantic reports what is wrong with the first branch, whatever was meant.
    """
    return {str: "text", list: "list", int: "number", bool: "number"}.get(type(value))


def or_else(what_is_wanted: str, form: Callable[[Any], str | None] = form_of) -> Discriminator:
    """The branch of a union by the form of a value, and an error that says what is wanted."""
    return Discriminator(
        form, custom_error_type="form", custom_error_message=f"Input should be {what_is_wanted}"
    )


class TextPart(BaseModel):
    """A piece of a message; pictures and sounds are not understood.

    Attributes:
        readable: the types that are.
    """

    readable: ClassVar[tuple[str, ...]] = ("text",)

    type: str
    text: str

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_types(cls, part: Any) -> Any:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind not in cls.readable:
            only = " and ".join(map(repr, cls.readable))
            raise ValueError(f"parts of type {kind[:40]!r} are not supported, only {only}")
        return part


class Turn(BaseModel):
    """One message; what else clients keep in it (`name`, `refusal`) says nothing to an expert."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[Sequence[TextPart], Tag("list")],
        or_else("a text or a list of parts of type 'text' (null in an assistant's message alone)"),
    ]

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_no_text(cls, turn: Any) -> Any:
        """An assistant may have said nothing: clients send back what they received."""
        if not isinstance(turn, dict):
            return turn
        role = turn.get("role")
        if role in ("tool", "function"):
            raise ValueError(f"messages of the role {role!r} are not supported")
        for name in NO_TEXT:
            if turn.get(name):
                raise ValueError(f"{name} is not supported")
        if role == "assistant" and turn.get("content") is None:
            return {**turn, "content": turn.get("refusal") or ""}
        return turn

    @property
    def text(self) -> str:
        """Its text in one piece."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


def require_question(turns: Sequence[Turn]) -> None:
    """Whoever asks must have the last word.

    Raises:
        ValueError: the last message is another's, or empty.
    """
    if turns[-1].role != "user" or not turns[-1].text.strip():
        raise ValueError("the last message must be a user's, and not empty")
