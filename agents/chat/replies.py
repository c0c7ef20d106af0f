"""What a server sent back, reduced to what is kept: text, reasoning, tokens, how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice

from agents.chat.failures import TransientFailure

_OPENING = re.compile(r"<think(?:ing)?>")
_CLOSING = re.compile(r"</think(?:ing)?>")
_BLOCK_AT_LINE_START = re.compile(
    r"^[ \t]*<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.MULTILINE | re.DOTALL
)
_REASONING_FIELDS = ("reasoning_content", "reasoning")
_MOST_TOKENS = 10**9
"""Of one call; what a server counts beyond that is no count, and no database could add it up."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """One chat completion.

    Attributes:
        text: what the model said, without its reasoning.
        reasoning: what stood in `<think>` blocks or in a reasoning field of the message.
        finish_reason: `stop`, `length`, ... as the server says; `refusal` if the model refused.
        tokens_in: prompt tokens as the server counts them, 0 where it does not.
        tokens_out: completion tokens likewise, reasoning included.
    """

    text: str
    reasoning: str
    finish_reason: str
    tokens_in: int
    tokens_out: int


CUT_OFF = ModelReply("", "", "length", 0, 0)
"""Of a model that came to its limit before it said anything, where the server calls that an error
and counts nothing."""


def read_reply(completion: ChatCompletion) -> ModelReply:
    """Reduce a completion to a reply.

    Raises:
        TransientFailure: if the body is no chat completion, or holds no choice.
    """
    # The openai library builds its models without validating them: any JSON may arrive here.
    if not isinstance(completion, ChatCompletion):
        raise TransientFailure("the body of the reply is not a chat completion")
    choices: object = completion.choices
    if not isinstance(choices, list) or not choices:
        raise TransientFailure(f"the reply has no choices{_server_error(completion)}")
    choice = choices[0]
    message = choice.message if isinstance(choice, Choice) else None
    if not isinstance(message, ChatCompletionMessage):
        raise TransientFailure("the reply has a choice without a message")
    if refusal := _text(message.refusal):
        text, thought, ended = refusal, "", "refusal"
    else:
        text, thought = split_reasoning(_content(message.content))
        ended = _text(choice.finish_reason) or "stop"
    parts = [_reasoning_field(message), thought]
    tokens_in, tokens_out = _tokens(completion.usage)
    return ModelReply(
        text=encodable(text),
        reasoning=encodable("\n".join(part for part in parts if part)),
        finish_reason=ended,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )


def split_reasoning(text: str) -> tuple[str, str]:
    """Visible text and reasoning; a block that is never closed is reasoning to its end.

    Text that begins as JSON or as a code block is left alone: a tag in it is part of a string.
    """
    visible, thoughts = text.strip(), list[str]()
    while opening := _OPENING.match(visible):
        closing = _CLOSING.search(visible, opening.end())
        end, after = closing.span() if closing else (len(visible), len(visible))
        thoughts.append(visible[opening.end() : end].strip())
        visible = visible[after:].lstrip()
    if visible.startswith(("{", "```")):
        return visible, "\n".join(thoughts)
    closing = _CLOSING.search(visible)
    opening = _OPENING.search(visible)
    if closing and (opening is None or closing.start() < opening.start()):
        # Chat templates of reasoning models often end in the opening tag: only the other comes.
        thoughts.append(visible[: closing.start()].strip())
        visible = visible[closing.end() :].lstrip()
    if not visible.startswith(("{", "```")):
        thoughts += [block.strip() for block in _BLOCK_AT_LINE_START.findall(visible)]
        visible = _BLOCK_AT_LINE_START.sub("", visible).strip()
    return visible, "\n".join(thoughts)


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: JSON can carry them, UTF-8 and SQLite cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(value: object) -> str:
    """The content of a message; some servers send it in parts, as requests may have it."""
    if not isinstance(value, list):
        return _text(value)
    return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))


def _reasoning_field(message: ChatCompletionMessage) -> str:
    extra = message.model_extra or {}
    return next((found for name in _REASONING_FIELDS if (found := _text(extra.get(name)))), "")


def _tokens(usage: CompletionUsage | None) -> tuple[int, int]:
    if not isinstance(usage, CompletionUsage):
        return 0, 0
    counts: tuple[object, object] = (usage.prompt_tokens, usage.completion_tokens)
    tokens_in, tokens_out = (
        count if isinstance(count, int) and 0 <= count <= _MOST_TOKENS else 0 for count in counts
    )
    return tokens_in, tokens_out


def _server_error(completion: ChatCompletion) -> str:
    """Some gateways answer 200 with an `error` object instead of choices."""
    error = (completion.model_extra or {}).get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message}" if isinstance(message, str) else ""
