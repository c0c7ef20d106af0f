"""From texts to token ids, of which only a chat template may write control tokens."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer

Turns = Sequence[Mapping[str, str]]
"""A conversation as chat templates read it: `role` and `content`."""

FAILURES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a chat template may raise: it is a program."""
_PRIVATE = range(0xF0000, 0xFFFFE)
"""Characters that mean nothing to a template."""


class Writer:
    """Writes texts and conversations in tokens.

    A text that spells a control token, as `<|im_end|>`, is a text: whoever asks cannot end a turn
    or speak for somebody else. Whatever spells none gets the tokens that the tokenizer gives it.

    Args:
        tokenizer: of transformers, with a backend of the tokenizers library.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def text(self, text: str) -> list[int]:
        """Token ids of a text."""
        tokens = self._read(text)
        if not self._controls.keys().isdisjoint(tokens):
            tokens = self._plain.encode(text, add_special_tokens=False).ids
        return tokens

    def chat(self, turns: Turns, add_generation_prompt: bool) -> list[int]:
        """Token ids of a conversation, rendered with the tokenizer's chat template.

        Raises:
            TemplateError: the template refuses it.
        """
        contents = [turn["content"] for turn in turns]
        if any(not self._controls.keys().isdisjoint(self._read(text)) for text in contents):
            return self._chat_with_spelled_controls(turns, add_generation_prompt)
        return self._read(self._rendered(turns, add_generation_prompt))

    def _chat_with_spelled_controls(self, turns: Turns, add_generation_prompt: bool) -> list[int]:
        """As `chat`, with other names for the control tokens that the template itself writes."""
        everything = "".join(turn["content"] for turn in turns)
        unused = (chr(code) for code in _PRIVATE if chr(code) not in everything)
        hidden = dict(
            zip((token.content for token in self._controls.values()), unused, strict=False)
        )
        shown = {character: name for name, character in hidden.items()}
        rendered = self._rendered(
            [{**turn, "content": _replaced(turn["content"], hidden)} for turn in turns],
            add_generation_prompt,
        )
        named = _replaced(
            rendered, {t.content: self._aliases[i] for i, t in self._controls.items()}
        )
        meant = {self._plain.token_to_id(name): number for number, name in self._aliases.items()}
        tokens = self._plain.encode(_replaced(named, shown), add_special_tokens=False).ids
        return [meant.get(token, token) for token in tokens]

    @cached_property
    def _controls(self) -> dict[int, AddedToken]:
        """Control tokens: those that are called special, and those that a template puts around."""
        added: Mapping[int, AddedToken] = self._tokenizer.added_tokens_decoder
        try:
            frame = set(self._read(self._rendered([{"role": "user", "content": ""}], True)))
        except FAILURES:
            frame = set()
        return {
            number: token
            for number, token in added.items()
            if token.content.strip() and (token.special or number in frame)
        }

    @cached_property
    def _aliases(self) -> dict[int, str]:
        """Names of control tokens that nobody can guess, and so nobody can spell."""
        return {number: f"\U00100000{secrets.token_hex(16)}" for number in self._controls}

    @cached_property
    def _plain(self) -> Tokenizer:
        """The tokenizer with control tokens under their aliases alone."""
        plain = Tokenizer.from_str(self._tokenizer.backend_tokenizer.to_str())
        plain.no_truncation()
        plain.no_padding()
        plain.add_special_tokens(list(self._controls.values()))
        plain.encode_special_tokens = True
        plain.add_tokens(
            [
                AddedToken(
                    self._aliases[number],
                    single_word=token.single_word,
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    normalized=False,
                    special=False,
                )
                for number, token in self._controls.items()
            ]
        )
        return plain

    def _read(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _rendered(self, turns: Turns, add_generation_prompt: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text


def _replaced(text: str, names: Mapping[str, str]) -> str:
    """A text with each name replaced; of two that begin at one place, the longer one."""
    longest_first = sorted(names, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda found: names[found[0]], text) if pattern else text
