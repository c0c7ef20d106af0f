"""The interface of best-of-N methods, and their registry: how to add one.

A method is an async function from a ballot to a choice, registered under its name:

    @method("shortest", source="...")
    async def shortest(ballot: Ballot, aids: Aids) -> Choice:
        return elect([-candidate.tokens for candidate in ballot.candidates])

`Choice.votes` shows a reader what went into the scores; every built-in method gives them.

`select` calls it with candidates that said something, and never where all of them agree; what it
needs beside the ballot it declares, so that a gap is reported before anything is answered.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from agents.errors import AnsweringError
from agents.task_force.ballot import Ballot, Choice, Vote
from memory.messages import did_you_mean
from memory.records import Voice

Need = Literal["logprobs", "history", "chooser", "rater", "reward"]
"""log-probabilities in the candidates, grades on the history or in the finals, an LLM in a role, a
reward model."""

LACKS: dict[Need, str] = {
    "logprobs": "log-probabilities, which the engine of this run does not give",
    "history": "grades on the run's history",
    "chooser": "a language model that chooses: set endpoints.chooser.base_url and model",
    "rater": "a language model that rates: set endpoints.rater.base_url and model",
    "reward": "a reward model: set answering.reward_model to a sequence classifier",
}


class AnswerJudge(Protocol):
    """A language model that is asked about answers."""

    async def choose(self, question: str, answers: list[str], turn: int) -> int | None:
        """Index of the answer that it takes for right; None if it comes to no verdict."""
        ...

    async def compare(self, question: str, first: str, second: str) -> int | None:
        """0 for the first, 1 for the second, None if it comes to no verdict."""
        ...

    async def appraise(self, question: str, answer: str, turn: int) -> float | None:
        """A score from 1 to 10; None if it comes to no verdict."""
        ...


class Router(Protocol):
    """Knows who is good at what."""

    def weights(self, question: str, voices: Sequence[Voice]) -> dict[Voice, float]:
        """Voice -> how likely it is to solve questions like this one, in [0, 1]."""
        ...


class RewardScorer(Protocol):
    """A reward model."""

    async def score(self, question: str, answers: list[str]) -> list[float]:
        """One reward per answer; higher is better."""
        ...


@dataclass(frozen=True)
class Aids:
    """What methods may need beside the ballot; None where there is none.

    Attributes:
        chooser: compares answers.
        rater: scores answers.
        router: knows the strengths of voices.
        reward: a reward model.
        passes: how often a judge is asked about the same thing.
    """

    chooser: AnswerJudge | None = None
    rater: AnswerJudge | None = None
    router: Router | None = None
    reward: RewardScorer | None = None
    passes: int = 3


ROUTED, UNROUTED = "skill_routing", "logprob"
"""The method that goes by the run's history, and what stands in for it on questions that are like
nothing there: on generators that no run had seen it did best at N = 3 and 8 (docs/results.md)."""

Choose = Callable[[Ballot, Aids], Awaitable[Choice]]


@dataclass(frozen=True)
class Method:
    """A way to choose one answer out of N.

    Attributes:
        summary: what it does, in one line.
        needs: without which it cannot work.
        source: where it comes from.
        unit: of its scores, as a person reads it.
    """

    name: str
    summary: str
    needs: frozenset[Need]
    source: str
    choose: Choose
    unit: str = "score"

    @property
    def judged(self) -> bool:
        """Whether it asks a model beside the experts."""
        return bool(self.needs & {"chooser", "rater", "reward"})


BUILT_IN = tuple(
    f"agents.task_force.{name}" for name in ("voting", "confidence", "chooser", "reward_model")
)
"""Where the methods are that are always there."""

_METHODS: dict[str, Method] = {}


def method(
    name: str, *, source: str, needs: tuple[Need, ...] = (), unit: str = "score"
) -> Callable[[Choose], Choose]:
    """Register a function as the method of that name; its docstring's first line sums it up."""

    def register(choose: Choose) -> Choose:
        summary = (choose.__doc__ or "").strip().split("\n", maxsplit=1)[0]
        _METHODS[name] = Method(name, summary, frozenset(needs), source, choose, unit)
        return choose

    return register


def methods() -> Mapping[str, Method]:
    """All methods by name, the built-in ones first."""
    # Imported here, not above: they import this module to register themselves.
    for module in BUILT_IN:
        importlib.import_module(module)
    return dict(_METHODS)


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        AnsweringError: there is none; names the nearest.
    """
    known = methods()
    if name in known:
        return known[name]
    raise AnsweringError(
        f"unknown selection method {name!r}{did_you_mean(name, known)}; "
        f"there are: {', '.join(known)}"
    )


def lacking(chosen: Method, aids: Aids, ballot: Ballot | None = None) -> str | None:
    """Why a method cannot work with these aids, None if it can."""
    there: dict[Need, bool] = {
        "logprobs": ballot is None
        or all(None not in (c.logprob, c.certainty) for c in ballot.candidates),
        "history": aids.router is not None,
        "chooser": aids.chooser is not None,
        "rater": aids.rater is not None,
        "reward": aids.reward is not None,
    }
    missing = [need for need in LACKS if need in chosen.needs and not there[need]]
    return f"{chosen.name} needs {LACKS[missing[0]]}" if missing else None


async def select(chosen: Method, ballot: Ballot, aids: Aids) -> Choice:
    """Choose one candidate.

    Empty answers cannot win while somebody said something, and where all that was said is equal,
    nobody is asked.

    Raises:
        AnsweringError: the ballot is empty, or the method lacks something that it needs.
        ChatError: a judge cannot be reached; a failure is no vote.
    """
    if not ballot.candidates:
        raise AnsweringError("no expert answered")
    places = ballot.spoken
    narrowed = ballot.narrowed(places)
    problem = lacking(chosen, aids, narrowed)
    if problem is not None:
        raise AnsweringError(problem)
    if is_unanimous(ballot):
        choice = _unanimous(narrowed)
    else:
        choice = await chosen.choose(narrowed, aids)
    return _widened(choice, places, len(ballot.candidates))


def is_unanimous(ballot: Ballot) -> bool:
    """Whether all that was said is equal, so that there is nothing to choose."""
    return len(ballot.narrowed(ballot.spoken).distinct) == 1


def _unanimous(ballot: Ballot) -> Choice:
    votes = [
        Vote(candidate.voice.label, place, 1.0, "all agree")
        for place, candidate in enumerate(ballot.candidates)
    ]
    return Choice(0, tuple(1.0 for _ in votes), tuple(votes))


def _widened(choice: Choice, places: tuple[int, ...], size: int) -> Choice:
    """A choice in terms of the whole ballot; who said nothing stands below everybody."""
    floor = min(choice.scores) - 1.0
    scores = [floor] * size
    for place, score in zip(places, choice.scores, strict=True):
        scores[place] = score
    votes = tuple(
        replace(vote, candidate=None if vote.candidate is None else places[vote.candidate])
        for vote in choice.votes
    )
    return Choice(places[choice.winner], tuple(scores), votes)
