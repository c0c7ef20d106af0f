"""How a family scores, and the gates on that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.trial.claims import INSTANCES, Claims, medley, quoted
from memory.records import GateCode


@dataclass(frozen=True, slots=True)
class Scored:
    """The claims, and how the family scores: (instance, text) -> the values of two processes."""

    claims: Claims
    values: Mapping[tuple[str, str], tuple[float, float]]

    def passes(self, instance: str, text: str) -> bool:
        """Whether a text scores 1."""
        return self.values[instance, text][0] == 1


def score_range(scored: Scored) -> str:
    """Every score is 0 or 1."""
    for (instance, text), values in scored.values.items():
        for value in values:
            if value not in (0, 1):
                return f"score gave {value:g} for {quoted(text)} (instance {instance}), not 0 or 1"
    return ""


def score_unstable(scored: Scored) -> str:
    """The same submission gets the same score in another process and order."""
    for (instance, text), (forth, back) in scored.values.items():
        if forth != back:
            return (
                f"{quoted(text)} (instance {instance}) scored {forth:g} and then {back:g}: "
                "score must depend on task and submission alone"
            )
    return ""


def reference_fails(scored: Scored) -> str:
    """Each reference answer scores 1."""
    for instance, reference in scored.claims.references.items():
        if not scored.passes(instance, reference):
            original = scored.claims.proposal.references[instance]
            read = "" if reference == original else f", which is read as {quoted(reference)},"
            return f"the reference {quoted(original)}{read} of instance {instance} scores 0"
    return ""


def wrong_passes(scored: Scored) -> str:
    """Each wrong answer scores 0."""
    for instance, text in scored.claims.wrong:
        if scored.passes(instance, text):
            return f"the wrong answer {quoted(text)} of instance {instance} scores 1"
    return ""


def empty_passes(scored: Scored) -> str:
    """No answer at all scores 0."""
    passing = [instance for instance in INSTANCES if scored.passes(instance, "")]
    return f"the empty answer scores 1 for instance {passing[0]}" if passing else ""


def echo_passes(scored: Scored) -> str:
    """Repeating the instruction scores 0."""
    for instance, text in scored.claims.echoes:
        if scored.passes(instance, text):
            return f"the bare instruction of instance {instance} scores 1 as an answer"
    return ""


def constant_answer(scored: Scored) -> str:
    """No single answer passes both instances."""
    first, second = INSTANCES
    for text in scored.claims.constants:
        if scored.passes(first, text) and scored.passes(second, text):
            if text == medley(*scored.claims.references.values()):
                return (
                    "a text that merely contains both references passes both instances: score "
                    "must look at the whole answer"
                )
            return f"the same answer {quoted(text)} passes both instances"
    return ""


SCORE_GATES: tuple[tuple[GateCode, Callable[[Scored], str]], ...] = (
    ("score_range", score_range),
    ("score_unstable", score_unstable),
    ("reference_fails", reference_fails),
    ("wrong_passes", wrong_passes),
    ("empty_passes", empty_passes),
    ("echo_passes", echo_passes),
    ("constant_answer", constant_answer),
)
GATES_OF_RATED_CODE = frozenset({"score_range", "score_unstable", "reference_fails"})
"""The gates that a rated family's code must pass; the others are checked with the rater."""
