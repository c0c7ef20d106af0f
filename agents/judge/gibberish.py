"""Whether an expert still speaks: cheap statistics over its replies, no model asked.

Merging and mutation can push weights so far that a model writes gibberish. What shows without
reading is decided here: nothing said, the same thing over and over, signs instead of words. Replies
that could be language but hold none of its commonest words are left to a rater. A wrong answer is
not gibberish, and a short one such as `Answer: 42` is a perfectly good reply.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agents.chat.client import ChatClient, Place
from agents.chat.structured import Completion
from agents.context import RunContext
from agents.errors import ContextLengthError, EndpointError
from memory.records import Expert

Label = Literal["coherent", "gibberish", "unclear"]

GIBBERISH_SHARE = 0.5
"""Share of bad replies from which an expert counts as lost."""
COHERENT_SHARE = 0.75
"""Share of good replies from which an expert counts as coherent."""

_LONG = 80
"""Characters below which a repeated pattern or a lack of common words proves nothing."""
_LOOP_SHARE = 0.6
_COMPRESSION_HEADER = 8
_COMPRESSION = 0.2
"""Compressed size relative to the text: English lies above 0.4, loops of some length below 0.2."""

_WORD = re.compile(r"[^\W\d_]+")
_COMMON = frozenset(
    _WORD.findall(
        "a an and answer are as at be by can do first for from has have i if in is it last letter "
        "list no not number of on or order so step sum that the then there this to true false we "
        "which will with word words would yes you"
    )
)


@dataclass(frozen=True)
class Assessment:
    """The verdict and, in words, what it rests on."""

    label: Label
    reason: str


def assess(replies: Sequence[str]) -> Assessment:
    """Judge an expert by its replies: coherent, gibberish, or unclear (to be read by a rater)."""
    if not replies:
        return Assessment("unclear", "no replies to judge by")
    verdicts = [assess_reply(reply) for reply in replies]
    bad = Counter(verdict.reason for verdict in verdicts if verdict.label == "gibberish")
    good = sum(verdict.label == "coherent" for verdict in verdicts)
    if bad.total() >= GIBBERISH_SHARE * len(replies):
        reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common())
        return Assessment("gibberish", f"of {len(replies)} replies: {reasons}")
    if good >= COHERENT_SHARE * len(replies):
        return Assessment("coherent", f"{good} of {len(replies)} replies read well")
    return Assessment("unclear", f"only {good} of {len(replies)} replies read well")


def assess_reply(reply: str) -> Assessment:
    """Judge one reply."""
    text = reply.strip()
    if not text:
        return Assessment("gibberish", "empty")
    if not any(character.isalnum() for character in text):
        # A lone sign can be an answer ("+", "?", "( ) [ ]"); a page of them cannot.
        return Assessment("gibberish" if len(text) > 20 else "unclear", "without words")
    if _share_of_noise(text) > 0.3:
        return Assessment("gibberish", "full of signs")
    if len(text) < _LONG:
        return Assessment("coherent", "short")
    if loops(text):
        return Assessment("gibberish", "repeating")
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) >= 8 and not _COMMON.intersection(words):
        return Assessment("unclear", "without common words")
    return Assessment("coherent", "language")


def loops(text: str) -> bool:
    """Whether a long text says the same over and over.

    Either it compresses far better than language does, or one run of two or three words makes up
    most of it.
    """
    data = text.encode()
    if len(zlib.compress(data, 9)) - _COMPRESSION_HEADER < _COMPRESSION * len(data):
        return True
    tokens = text.split()
    for length in (1, 2, 3):
        grams = [tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)]
        if len(grams) >= 12 and Counter(grams).most_common(1)[0][1] * length > (
            _LOOP_SHARE * len(tokens)
        ):
            return True
    return False


def _share_of_noise(text: str) -> float:
    """Share of characters that decoding could not make sense of, or that nobody writes."""
    noise = sum(
        character == "\ufffd" or (not character.isprintable() and not character.isspace())
        for character in text
    )
    return noise / len(text)


SHOWN_REPLIES = 3


_EMPHASIS = str.maketrans("", "", "*_`\"'")


async def rater_says_gibberish(chat: ChatClient, expert: Expert, replies: Sequence[str]) -> bool:
    """Whether the rater finds that an expert has lost its language.

    An unreachable rater and a reply without a verdict count as coherent: a failure is no verdict.
    """
    try:
        completion: Completion = await chat.ask(
            "gibberish", Place(expert.id), {"replies": list(replies)[:SHOWN_REPLIES]}
        )
    except (EndpointError, ContextLengthError):
        return False
    said = completion.text.translate(_EMPHASIS).strip().rstrip(".").casefold()
    return said.endswith("decision: gibberish")


async def gibberish_experts(context: RunContext, experts: Iterable[Expert]) -> dict[str, str]:
    """Bred experts whose answers are gibberish, each with the reason; seeds are exempt.

    Cheap statistics decide what they can; the rater decides what they leave open, and without a
    rater an open case counts as coherent.
    """
    found: dict[str, str] = {}
    if not context.config.selection.gibberish_filter:
        return found
    for expert in experts:
        if expert.is_seed:
            continue
        replies = [answer.reply.text for answer in context.store.answers_of(expert.genome_id)]
        verdict = assess(replies)
        if verdict.label == "gibberish" or (
            verdict.label == "unclear"
            and context.has_rater
            and await rater_says_gibberish(context.chat, expert, replies)
        ):
            found[expert.id] = verdict.reason
    return found
