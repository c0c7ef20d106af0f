"""What is voted on, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from agents.judge.extraction import extract
from memory.records import FinishReason, Reply, Token, Voice

_NUMBER = re.compile(
    r"(?P<sign>-?)(?P<whole>0|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d*)(?P<fraction>\.\d+)?"
)


@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """What one voice of the force said.

    Attributes:
        text: the whole reply.
        extracted: the answer in it.
        tokens: length of the reply.
        fitness: what the voice passes of that on which the force was chosen.
        logprob: mean log-probability of the reply's tokens, None where it was not asked for.
        certainty: self-certainty of the reply, likewise.
        tokens_in: length of the prompt.
        finish_reason: `stop` if the expert ended by itself, `length` at the token limit.
        spelled: the text token by token, None where it was not asked for.
        temperature: at which the expert answered; 0 is greedy.
    """

    expert: str
    text: str
    extracted: str
    tokens: int
    fitness: float = 0.0
    logprob: float | None = None
    certainty: float | None = None
    tokens_in: int = 0
    finish_reason: FinishReason = "stop"
    spelled: tuple[Token, ...] | None = None
    temperature: float = 0.0

    @property
    def voice(self) -> Voice:
        """Who answered, and how."""
        return Voice(self.expert, self.temperature)

    @classmethod
    def of(cls, voice: Voice, reply: Reply, fitness: float = 0.0) -> CandidateAnswer:
        """Read a reply."""
        return cls(
            expert=voice.expert,
            text=reply.text,
            extracted=extract(reply.text).answer,
            tokens=reply.tokens_out,
            fitness=fitness,
            logprob=reply.logprob,
            certainty=reply.certainty,
            tokens_in=reply.tokens_in,
            finish_reason=reply.finish_reason,
            spelled=reply.tokens,
            temperature=voice.temperature,
        )


@dataclass(frozen=True)
class Ballot:
    """One question and N answers.

    Attributes:
        candidates: the fittest voice first; of equals, the earlier wins.
        seed: of what a method draws, such as the order in which answers are shown.
    """

    question: str
    candidates: tuple[CandidateAnswer, ...]
    seed: int = 0

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """Normalised answer of each candidate."""
        return tuple(normalise(candidate.extracted) for candidate in self.candidates)

    @cached_property
    def distinct(self) -> tuple[int, ...]:
        """The first candidate of each different answer."""
        return tuple(self.answers.index(answer) for answer in dict.fromkeys(self.answers))

    @cached_property
    def spoken(self) -> tuple[int, ...]:
        """Candidates that can be chosen: those that said something, or all if nobody did."""
        said = tuple(place for place, answer in enumerate(self.answers) if answer)
        return said or tuple(range(len(self.candidates)))

    def narrowed(self, places: Sequence[int]) -> Ballot:
        """The same question with some of the candidates."""
        return replace(self, candidates=tuple(self.candidates[place] for place in places))

    def agreement(self, place: int) -> float:
        """Share of the candidates whose answer is equal to that of one."""
        return self.answers.count(self.answers[place]) / len(self.answers)


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote.

    Attributes:
        voter: a voice, or a judge and its turn, as in `chooser, pass 2`.
        candidate: place on the ballot; None for a judge that came to no verdict.
        weight: what it counts.
        note: what was decided, where a number does not say it.
    """

    voter: str
    candidate: int | None
    weight: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom a method chose.

    Attributes:
        winner: place on the ballot.
        scores: one per candidate; the winner has the highest, the earlier of equals.
        votes: everything that went into the scores.
    """

    winner: int
    scores: tuple[float, ...]
    votes: tuple[Vote, ...] = ()


def elect(scores: Sequence[float], votes: Sequence[Vote] = ()) -> Choice:
    """The candidate of the highest score; of equals, the earlier, who is the fitter."""
    winner = max(range(len(scores)), key=lambda place: (scores[place], -place))
    return Choice(winner, tuple(scores), tuple(votes))


def normalise(answer: str) -> str:
    """The form in which two answers count as the same.

    Case, spaces and closing marks do not matter, nor, in a number, commas between thousands and
    zeros at the end of a fraction. Zeros in front do: 0110 may be a string of bits.
    """
    plain = re.sub(r"\s+", " ", answer).strip().strip(".!\"'`*").casefold()
    number = _NUMBER.fullmatch(plain)
    if number is None:
        return plain
    whole = number["whole"].replace(",", "")
    fraction = (number["fraction"] or "").rstrip("0").rstrip(".")
    return f"{number['sign']}{whole}{fraction}"
