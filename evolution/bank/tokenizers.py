"""Tokenizers of checkpoints: how a prompt becomes tokens, and which tokens end an answer."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer, GenerationConfig

from evolution.bank.checkpoints import UNREADABLE, Checkpoint
from evolution.errors import CheckpointError
from memory.messages import first_line

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


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        CheckpointError: it is missing, or has no chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{checkpoint.label} has no tokenizer: {first_line(error)}"
        ) from error
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"{checkpoint.label}: its tokenizer has no chat template; use an instruction-tuned "
            "base, or add chat_template.jinja to the folder"
        )
    return tokenizer


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
    return GenerationConfig(
        bos_token_id=next(iter(numbers("bos_token_id")), None),
        eos_token_id=ends or None,
        pad_token_id=next(iter([*numbers("pad_token_id"), *ends]), None),
    )
