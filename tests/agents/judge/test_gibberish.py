"""The minimal criterion: does an expert still speak."""

from __future__ import annotations

import pytest

from agents.judge.gibberish import assess, assess_reply

COHERENT = [
    "Answer: 42",
    "Answer: yes",
    "42",
    "Answer: olleh",
    "Answer: 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83",
    (
        "To find the sum of 12 and 30, we add the ones first and then the tens: 12 + 30 = 42.\n"
        "Answer: 42"
    ),
    (
        "The word 'stressed' spelled backward is 'desserts'. I know this because each letter is "
        "read from the end to the start.\n\nAnswer: desserts"
    ),
    (
        "Let's break it down step by step:\n1. The first number is 4.\n2. The second number is 8.\n"
        "3. The third number is 15.\n4. The sum of these numbers is 27.\nAnswer: 27"
    ),
    "```python\ndef add(a, b):\n    return a + b\n\nprint(add(1, 3))\n```\n\nThis prints it.",
]
GIBBERISH = [
    "",
    "  \n ",
    "the the the the the the the the the the the the the the the the the the the the the the the",
    "Answer: 1111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
    (
        "I think that is, I think that is, I think that is, I think that is, I "
        "think that is, I think that is, I think that is, I think that is,"
    ),
    "\ufffd\ufffd\ufffd a \ufffd\ufffd",
    "}}}}])))>>><<<//\\\\||{{{}}}}])))>>",
]
UNCLEAR = [
    "?",
    (
        "antiquitiesfloor Throws Cartesian rhyolite GMO oste incompet scripting banjo Mughal "
        "kilometers tremend predation Oswald mitt pter"
    ),
]


@pytest.mark.parametrize("reply", COHERENT)
def test_sensible_replies_are_coherent(reply: str) -> None:
    assert assess_reply(reply).label == "coherent"


@pytest.mark.parametrize("reply", GIBBERISH)
def test_babble_is_gibberish(reply: str) -> None:
    assert assess_reply(reply).label == "gibberish"


@pytest.mark.parametrize("reply", UNCLEAR)
def test_what_needs_reading_is_left_open(reply: str) -> None:
    assert assess_reply(reply).label == "unclear"


def test_an_expert_is_judged_by_most_of_its_replies() -> None:
    assert assess(COHERENT + GIBBERISH[:2]).label == "coherent"
    assert assess(COHERENT[:4] + GIBBERISH[:4]).label == "gibberish"
    assert assess(COHERENT[:5] + GIBBERISH[:3]).label == "unclear"
    assert assess(COHERENT[:2] + UNCLEAR).label == "unclear"


def test_the_reason_counts_what_was_seen() -> None:
    verdict = assess(["", "", "Answer: 1"])
    assert verdict.label == "gibberish"
    assert verdict.reason == "of 3 replies: 2 empty"


def test_without_replies_nothing_can_be_said() -> None:
    assert assess([]).label == "unclear"
