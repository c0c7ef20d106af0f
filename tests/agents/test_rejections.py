"""Reasons in words."""

from __future__ import annotations

from typing import get_args

from agents.rejections import IN_WORDS, explained
from memory.records import GateCode, RejectionReason


def test_every_reason_has_words_and_unknown_ones_stay() -> None:
    gates, others = get_args(RejectionReason)
    assert set(IN_WORDS) == {*get_args(gates), *get_args(others)}
    assert set(get_args(GateCode)) <= set(IN_WORDS)
    assert explained("leaked") == "leaked (an instruction holds the answer)"
    assert explained("of_another_version") == "of_another_version"
