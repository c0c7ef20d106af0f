"""How a family scores, and the gates on that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.trial.claims import RAMBLING, Claims, medley, quoted
from memory.records import GateCode

MOST_BY_CHANCE = 0.5
"""Share of instances that one constant answer may pass."""
_ONE_SIDED = 1.645
"""Standard errors of a one-sided test at 5 %."""


@dataclass(frozen=True, slots=True)
class Chance:
    """How far one constant answer gets at one level.

    Attributes:
        answer: the constant answer that passes most instances.
        passed: how many it passes.
        of: of so many instances.
        share: what the best constant of one half of the instances passes of the other half, so
            that a small sample does not inflate it.
    """

    answer: str
    passed: int
    of: int
    share: float

    @property
    def noise(self) -> float:
        """By how much a share may exceed a half by sampling alone."""
        return float(_ONE_SIDED * (MOST_BY_CHANCE * (1 - MOST_BY_CHANCE) / self.of) ** 0.5)


def chance_of(passes: Mapping[str, Sequence[bool]], together: int = 2) -> Chance:
    """The chance of one level.

    Args:
        passes: constant answer -> whether it passes each of the level's instances, two of each of
            at least two seeds.
        together: neighbours that go to the same half: the two instances of one seed may be made to
            differ.
    """
    answer = max(passes, key=lambda text: sum(passes[text]))
    count, right = len(passes[answer]), 0
    halves = [[place for place in range(count) if place // together % 2 == h] for h in (0, 1)]
    for chosen, tried in (halves, halves[::-1]):
        best = max(passes, key=lambda text: sum(passes[text][place] for place in chosen))
        right += sum(passes[best][place] for place in tried)
    return Chance(answer, sum(passes[answer]), count, right / count)


@dataclass(frozen=True, slots=True)
class Scored:
    """The claims, and how the family scores.

    Attributes:
        values: (instance, text) -> the values of two processes.
        chances: level -> how far a constant answer gets; empty for a closed family.
    """

    claims: Claims
    values: Mapping[tuple[str, str], tuple[float, float]]
    chances: Mapping[int, Chance] = field(default_factory=dict)

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
            original = scored.claims.stated[instance]
            read = "" if reference == original else f", which is read as {quoted(reference)},"
            return (
                f"the reference {quoted(original)}{read} of instance {instance} scores 0: the "
                "program or the reference is wrong"
            )
    return ""


def wrong_passes(scored: Scored) -> str:
    """Each wrong answer scores 0."""
    for instance, text in scored.claims.wrong:
        if scored.passes(instance, text):
            return (
                f"the wrong answer {quoted(text)} of instance {instance} scores 1: the program "
                "is wrong, or the answer is right"
            )
    return ""


def empty_passes(scored: Scored) -> str:
    """No answer at all scores 0."""
    passing = [name for name in scored.claims.instructions if scored.passes(name, "")]
    return f"the empty answer scores 1 for instance {passing[0]}" if passing else ""


def echo_passes(scored: Scored) -> str:
    """Repeating the instruction scores 0."""
    for instance, text in scored.claims.echoes:
        if scored.passes(instance, text):
            return f"the bare instruction of instance {instance} scores 1 as an answer"
    return ""


def constant_answer(scored: Scored) -> str:
    """No single answer passes both instances of a closed family, or most of a generative one."""
    claims = scored.claims
    first, second = claims.own
    merged = medley(*(claims.references[instance] for instance in claims.own))
    for text in claims.constants if claims.levels is None else (merged, RAMBLING):
        if scored.passes(first, text) and scored.passes(second, text):
            if text == merged:
                return (
                    "a text that merely contains both references passes both instances: score "
                    "must look at the whole answer"
                )
            return f"the same answer {quoted(text)} passes both instances"
    for level, chance in scored.chances.items():
        if chance.share > MOST_BY_CHANCE + chance.noise:
            return (
                f"the same answer {quoted(chance.answer)} passes {chance.passed} of {chance.of} "
                f"instances of level {level}: at most half may have the same answer"
            )
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
