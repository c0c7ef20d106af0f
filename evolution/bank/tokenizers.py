"""Tokenizers of checkpoints: how a prompt becomes tokens, and which tokens end an answer."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig

from evolution.bank.checkpoints import Checkpoint
from evolution.bank.files import UNREADABLE, check_files, panics_refused, read_json
from evolution.bank.limits import LimitError, within_limits
from evolution.errors import CheckpointError, IncompatibleError
from memory.messages import first_line

_log = logging.getLogger(__name__)

_FILE = "tokenizer.json"
_FILES = (_FILE, "tokenizer.model", "vocab.json", "tokenizer_config.json")
_OTHER_FILES = ("special_tokens_map.json", "added_tokens.json", "chat_template.json")
_TOLERANCE = 0.01
"""Share of the vocabulary that a seed may have added to, or renamed in, that of the base."""
_TURN_ENDS = frozenset(
    {
        "<|im_end|>",
        "<|eot_id|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|end|>",
        "<end_of_turn>",
        "<|return|>",
        "</s>",
    }
)
_TRIED = [
    [{"role": "user", "content": "What is 7 times 8?"}],
    [
        {"role": "system", "content": "Solve the task."},
        {"role": "user", "content": "What is 7 times 8?"},
        {"role": "assistant", "content": "Answer: 56"},
        {"role": "user", "content": "Why?"},
    ],
]
"""Conversations that a chat template renders before it is used. It has to know the first one."""
_TEXT = "What is 7 times 8?\n" * 100
_readable: set[str] = set()
"""Hashes of files that were read within limits."""


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The tokenizer of a checkpoint, whose chat template was tried within limits.

    Raises:
        CheckpointError: it is missing or damaged, or has no chat template that can be used.
    """
    tokenizer = _load(checkpoint.folder, checkpoint.label)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{checkpoint.label}: its tokenizer is a {type(tokenizer).__name__}, which cannot tell "
            "control tokens from texts that spell them; add tokenizer.json to the folder"
        )
    template = tokenizer.chat_template
    if not template:
        raise CheckpointError(
            f"{checkpoint.label}: its tokenizer has no chat template; use an instruction-tuned "
            "base, or add chat_template.jinja to the folder"
        )
    try:
        template = tokenizer.get_chat_template()
        names = json.dumps({key: str(text) for key, text in tokenizer.special_tokens_map.items()})
        told = _told(template, names)
    except (LimitError, *UNREADABLE) as error:
        raise CheckpointError(
            f"{checkpoint.label}: its chat template cannot be used: {first_line(error)}"
        ) from error
    if isinstance(told, str):
        raise CheckpointError(
            f"{checkpoint.label}: its chat template refuses a plain question: {told}"
        )
    return tokenizer


def _load(folder: Path, label: str) -> Any:
    """A tokenizer that may be damaged in ways for which its library has no kind of errors."""
    check_files(folder, label)
    for name in (*_FILES[1:], *_OTHER_FILES):
        if name.endswith("json") and (folder / name).is_file():
            read_json(folder / name, label)
    try:
        if (folder / _FILE).is_file():
            with (folder / _FILE).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest not in _readable:
                within_limits("encode", {"file": str(folder / _FILE), "text": _TEXT})
                _readable.add(digest)
        with panics_refused():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (LimitError, *UNREADABLE) as error:
        raise CheckpointError(
            f"{label}: its tokenizer cannot be read: {first_line(error)}"
        ) from error


@functools.lru_cache(maxsize=64)
def _told(template: str, names: str) -> int | str:
    """What a chat template makes of a plain question: so many characters, or why it refuses."""
    given = {"template": template, "chats": _TRIED, "names": json.loads(names)}
    told: int | str = within_limits("render", given)[0]
    return told


def generation_of(tokenizer: Any, stated: Any, label: str) -> Any:
    """How experts answer: greedily, until one of the end tokens; engines and exports go by it.

    An answer ends with the tokens that model and tokenizer name, and with known ends of a turn.
    What else a generation_config.json states (temperatures, penalties, lengths) no engine does.

    Args:
        tokenizer: of the base.
        stated: generation configuration of the base, of transformers.
        label: what the base is called in messages.

    Returns:
        A GenerationConfig; `eos_token_id` is an ascending list, or None where nothing ends.

    Raises:
        CheckpointError: what is named is no token.
    """

    def numbers(key: str) -> list[int]:
        """What model and tokenizer name, the model first; negative numbers stand for none."""
        named = getattr(stated, key, None)
        found = [*(named if isinstance(named, list) else [named]), getattr(tokenizer, key, None)]
        for number in found:
            if number is not None and type(number) is not int:
                raise CheckpointError(f"{label}: {key} = {named!r} is no number of a token")
        return [number for number in found if number is not None and number >= 0]

    turns = [n for text, n in tokenizer.get_added_vocab().items() if text in _TURN_ENDS]
    ends = sorted({*numbers("eos_token_id"), *turns})
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=next(iter(numbers("bos_token_id")), None),
        eos_token_id=ends or None,
        pad_token_id=next(iter([*numbers("pad_token_id"), *ends]), None),
    )


def check_tokenizer(folder: Path, label: str, tokenizer: Any, base: str) -> None:
    """Compare the tokenizer that a seed brings along, if it does, with that of the base.

    Equal shapes do not make equal vocabularies: a token must have the same number in both. Whatever
    else turns prompts into other tokens, or ends answers elsewhere, is named in a warning: experts
    speak as the base does.

    Args:
        folder: of the seed, or adapter.
        label: what it is called in messages.
        tokenizer: of the base.
        base: what the base is called in messages.

    Raises:
        CheckpointError: it cannot be read.
        IncompatibleError: a token has another number.
    """
    if not any((folder / name).is_file() for name in _FILES[:3]):
        return
    own = _load(folder, label)
    ours, theirs = own.get_vocab(), tokenizer.get_vocab()
    moved = [token for token, number in ours.items() if theirs.get(token, number) != number]
    added = [token for token in ours if token not in theirs]
    if moved or len(added) > _TOLERANCE * len(theirs):
        token = (moved or added)[0]
        raise IncompatibleError(
            f"{label} and {base} have different vocabularies: token {token!r} is number "
            f"{ours[token]} in one and {theirs.get(token, 'none')} in the other"
        )
    differing = [*_differing(own, tokenizer), *(["vocabulary"] if added else [])]
    if differing:
        _log.warning(
            "%s and %s have tokenizers with different %s; experts use that of the base",
            label,
            base,
            ", ".join(differing),
        )


def _differing(one: Any, other: Any) -> Iterator[str]:
    """What differs between two tokenizers, besides the numbers of tokens."""
    for key in ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template"):
        if getattr(one, key, None) != getattr(other, key, None):
            yield key
    parts, others = _parts(one), _parts(other)
    yield from (key for key in parts if parts[key] != others.get(key))


def _parts(tokenizer: Any) -> dict[str, Any]:
    """What turns a text into tokens, for tokenizers that can say it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {}
    stated = json.loads(backend.to_str())
    return {
        "normalizer": stated.get("normalizer"),
        "pre_tokenizer": stated.get("pre_tokenizer"),
        "merges": stated.get("model", {}).get("merges"),
        "added tokens": {each["content"]: each for each in stated.get("added_tokens", [])},
    }
