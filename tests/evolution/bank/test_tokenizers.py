"""Tokenizers of checkpoints: where answers end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from evolution.bank.tokenizers import generation_of
from tests.conftest import make_tokenizer


def test_replies_end_where_model_tokenizer_or_template_say() -> None:
    tokenizer: Any = make_tokenizer()

    def ends(**stated: object) -> set[int]:
        return {*generation_of(tokenizer, SimpleNamespace(**stated), "base").eos_token_id}

    names = {tokenizer.convert_ids_to_tokens(token) for token in ends()}
    assert names == {"<|im_end|>", "<|endoftext|>"}
    assert 7 in ends(eos_token_id=7)
    assert {7, 9} < ends(eos_token_id=[7, 9])
    assert -1 not in ends(eos_token_id=-1)
