"""How a piece of work is described in its span: OpenInference names, and how much of a text.

Phoenix, Langfuse and other viewers know these names
(https://github.com/Arize-ai/openinference, `spec/semantic_conventions.md`); what has none there
is called `acdc.NAME`. A text that is too long is cut, and says so: its last words are
`… [N characters cut]`. So is a conversation of too many messages: `acdc.messages_cut`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from memory.records import ChatMessage
from memory.store.codec import dump_json

SpanKind = Literal[
    "phase",
    "agent",
    "step",
    "gate",
    "llm",
    "answer",
    "grade",
    "sandbox",
    "swap",
    "decision",
    "breed",
    "merge",
    "lesson",
]
"""`phase` spans are what `phase_seconds` sums; the others are the work inside."""

Value = str | bool | int | float

KIND = "acdc.kind"
OPENINFERENCE_KIND = "openinference.span.kind"
KINDS: Mapping[SpanKind, str] = {
    "phase": "CHAIN",
    "agent": "AGENT",
    "step": "CHAIN",
    "gate": "GUARDRAIL",
    "llm": "LLM",
    "answer": "LLM",
    "grade": "EVALUATOR",
    "sandbox": "TOOL",
    "swap": "CHAIN",
    "decision": "CHAIN",
    "breed": "CHAIN",
    "merge": "CHAIN",
    "lesson": "CHAIN",
}
_NAMES: Mapping[str, str] = {
    "model": "llm.model_name",
    "parameters": "llm.invocation_parameters",
    "tokens_in": "llm.token_count.prompt",
    "tokens_out": "llm.token_count.completion",
    "tokens": "llm.token_count.total",
    "cost": "llm.cost.total",
    "input": "input.value",
    "output": "output.value",
}
_CONVERSATIONS: Mapping[str, str] = {
    "input_messages": "llm.input_messages",
    "output_messages": "llm.output_messages",
}

_WORDS: Mapping[SpanKind, str] = {
    "llm": "model call",
    "answer": "answers of an expert",
    "swap": "weights of an expert",
    "grade": "grading:",
    "sandbox": "sandbox:",
}
_UNNAMED: frozenset[SpanKind] = frozenset({"answer", "swap"})
"""Kinds whose spans have a name that says nothing to people."""
_NAMED = ("role", "assignment", "expert", "worker", "family", "family_name")
"""Attributes that tell one wait from another; none of them is a hash."""
PASSED_ON = ("assignment", "expert", "family_name")
"""Those of them that hold for the work within, too."""


def described(kind: SpanKind, name: str, given: Mapping[str, object]) -> str:
    """A piece of work in a few words, as in `model call propose (scientist, g0-a01)`."""
    about = ", ".join(str(given[each]) for each in _NAMED if given.get(each) is not None)
    what = _WORDS.get(kind, kind) + ("" if kind in _UNNAMED else f" {name}")
    return f"{what} ({about})" if about else what


LONGEST = 16_000
"""Characters of one text that leave this process."""
LONGEST_KEPT = 600
"""Characters of one text in `run.db`, which holds whole conversations already, as calls."""
MOST_MESSAGES = 40
"""Messages of one conversation: OpenTelemetry drops what goes beyond 128 attributes, unseen."""
_CUT = re.compile(r"… \[(\d+) characters cut\]\Z")


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is too long, with how much is missing; it may be cut again."""
    found = _CUT.search(text)
    missing = int(found[1]) if found else 0
    said = text[: found.start()] if found else text
    if len(said) <= longest:
        return text
    return f"{said[:longest]}… [{missing + len(said) - longest} characters cut]"


def attributes_of(given: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    """OpenInference names and values of what is known of some work; None is left out.

    Args:
        given: by our own names. `input_messages` and `output_messages` are conversations; what is
            neither a text nor a number becomes JSON.
    """
    for name, value in given.items():
        if name in _CONVERSATIONS and isinstance(value, Sequence):
            yield from _conversation(_CONVERSATIONS[name], value)
        elif value is not None:
            key = _NAMES.get(name, f"acdc.{name}")
            yield key, value if isinstance(value, Value) else dump_json(value)


def _conversation(key: str, messages: Sequence[ChatMessage]) -> Iterator[tuple[str, Value]]:
    """What a conversation begins with, and its newest messages where they are too many."""
    shown = list(enumerate(messages))
    if len(shown) > MOST_MESSAGES:
        half = MOST_MESSAGES // 2
        shown = shown[:half] + shown[-half:]
        yield "acdc.messages_cut", len(messages) - len(shown)
    for place, message in shown:
        yield f"{key}.{place}.message.role", message.role
        yield f"{key}.{place}.message.content", message.content
