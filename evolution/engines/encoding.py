"""From conversations to token ids, and the caches that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

from evolution.engines.base import Chat
from evolution.engines.writing import FAILURES, Writer
from evolution.errors import EngineError, PromptTooLongError
from memory.messages import first_line
from memory.records import ChatMessage, Token

BUCKETS = "caches of 256 * 2**k; openings of 16 and more"
"""What the functions below do, in words: part of the profile of an engine."""

_SMALLEST_CACHE = 256
_SHORTEST_OPENING = 16
_KEPT_OPENINGS = 64
_INCOMPLETE = "\ufffd"


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt in tokens.

    Attributes:
        opening: what it shares with all prompts of the same system message; may be empty. An
            expert reads it once and not once per prompt.
        rest: its own tokens, at least one.
    """

    opening: tuple[int, ...]
    rest: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.opening) + len(self.rest)

    @property
    def tokens(self) -> list[int]:
        """All tokens."""
        return [*self.opening, *self.rest]

    def cache_length(self, max_tokens: int) -> int:
        """Number of cache slots for prompt and reply."""
        length = _SMALLEST_CACHE
        while length < len(self) + max_tokens:
            length *= 2
        return length


@dataclass
class Encoder:
    """Renders conversations with the tokenizer's own chat template, see `Writer`.

    Attributes:
        context: the longest sequence that the model can attend to.
    """

    tokenizer: Any
    context: int
    _openings: dict[ChatMessage, list[int]] = field(default_factory=dict, init=False)
    _writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self._writer = Writer(self.tokenizer)

    def encode(self, chat: Chat, max_tokens: int) -> EncodedPrompt:
        """Token ids of a conversation, with the generation prompt.

        Raises:
            PromptTooLongError: the prompt and `max_tokens` exceed the context.
            EngineError: the chat template refuses the conversation.
        """
        tokens = self._tokens(chat)
        if len(tokens) + max_tokens > self.context:
            raise PromptTooLongError(len(tokens), max_tokens, self.context)
        shared = 0
        if [message.role for message in chat] == ["system", "user"]:
            pairs = zip(self._opening(chat[0]), tokens[:-1], strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if shared < _SHORTEST_OPENING:
            shared = 0
        return EncodedPrompt(tuple(tokens[:shared]), tuple(tokens[shared:]))

    def encode_with(self, chat: Chat, text: str) -> tuple[list[int], int]:
        """Token ids of a conversation and a given reply, and how many of them are the reply's.

        Raises:
            PromptTooLongError: prompt and reply exceed the context.
            EngineError: the chat template refuses the conversation.
        """
        reply = self._writer.text(text)
        prompt = self.encode(chat, len(reply) + 1)
        return [*prompt.tokens, *reply], len(reply)

    def decode(self, tokens: list[int]) -> str:
        """The text of a reply, without special tokens."""
        text: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def spell(self, tokens: list[int], logprobs: Sequence[float]) -> tuple[Token, ...]:
        """A reply token by token; joined, the pieces are its text, whatever the tokens are.

        What a token adds is what the text of the few tokens before it grows by. Nothing is added
        while a character is incomplete; the token that completes it adds all of it.

        Args:
            tokens: of the reply, without the end token.
            logprobs: of those tokens, and of what may come after them.
        """
        text, shown = self.decode(tokens), ""
        window = before = 0
        ends = [0]
        for place in range(1, len(tokens) + 1):
            grown = self.decode(tokens[window:place])
            ends.append(ends[-1])
            if not grown.endswith(_INCOMPLETE):
                ends[-1] += max(len(grown) - len(shown), 0)
                window, before = before, place
                shown = self.decode(tokens[window:place])
        # What is still incomplete at the end is added by the last token.
        ends[-1] = len(text)
        pieces = (text[start:end] for start, end in pairwise(ends))
        return tuple(map(Token, pieces, logprobs))

    def _opening(self, system: ChatMessage) -> list[int]:
        """Tokens of the conversation that has this system message and an empty question."""
        if system not in self._openings:
            if len(self._openings) >= _KEPT_OPENINGS:
                self._openings.clear()
            empty = ChatMessage(role="user", content="")
            self._openings[system] = self._tokens([system, empty])
        return self._openings[system]

    def _tokens(self, chat: Chat) -> list[int]:
        try:
            return self._write(chat)
        except FAILURES:
            # Some templates know no system role; then its text opens the first question.
            try:
                return self._write(_without_system(chat))
            except FAILURES as error:
                raise EngineError(
                    f"the chat template rejects this conversation: {first_line(error)}"
                ) from error

    def _write(self, chat: Chat) -> list[int]:
        return self._writer.chat([message.model_dump() for message in chat], True)


def longest_context(config: Any) -> int:
    """The longest sequence for which full attention is what the model was made for.

    Args:
        config: of transformers.
    """
    limits = [getattr(config, "max_position_embeddings", None)]
    # Where no layer says what it attends to, a window is for all of them.
    kinds = getattr(config, "layer_types", None) or ("sliding_attention",)
    if "sliding_attention" in kinds and getattr(config, "use_sliding_window", True):
        limits.append(getattr(config, "sliding_window", None))
    if "chunked_attention" in kinds:
        limits.append(getattr(config, "attention_chunk_size", None))
    # Beyond this, every position would be another one than before.
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        original = getattr(config, "original_max_position_embeddings", None)
        limits.append(rope.get("original_max_position_embeddings") or original)
    return min((limit for limit in limits if limit), default=1 << 20)


def _without_system(chat: Chat) -> Chat:
    if len(chat) < 2 or chat[0].role != "system":
        return chat
    question = ChatMessage(role=chat[1].role, content=f"{chat[0].content}\n\n{chat[1].content}")
    return [question, *chat[2:]]
