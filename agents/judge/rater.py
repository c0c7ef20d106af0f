"""The rater: an LLM that judges what statistics and scorers leave open.

An answer to a rated family gets several *votes*, each a call of its own. A vote is blind and
calibrated: the rater sees the answer among two that are known, the reference and the longest wrong
answer, and does not know which is which. A vote that fails the reference or passes the wrong answer
is void. The places rotate from vote to vote, so that a rater with a liking for a place has no
say; the known wrong answer is at least as long as the reference, so that length gives nothing away.
Position and length bias of LLM judges: Zheng et al. 2023 (arXiv:2306.05685), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agents.chat.client import ChatClient, Place
from agents.concurrency import all_of
from agents.errors import ChatError, ContextLengthError, EndpointError
from agents.families.items import Item, Rubric
from agents.judge.votes import agreement, majority
from memory.hashing import json_hash
from memory.randomness import derive_seed
from memory.spans import span

TRIES = 2
"""How often a vote is asked for in one session until one is valid."""

_LABELS = ("A", "B", "C")
_ORDERS = (
    ("answer", "reference", "foil"),
    ("foil", "answer", "reference"),
    ("reference", "foil", "answer"),
    ("answer", "foil", "reference"),
    ("reference", "answer", "foil"),
    ("foil", "reference", "answer"),
)
"""All orders; any three in a row show each of the answers at each place."""


@dataclass(frozen=True, slots=True)
class RaterVote:
    """One valid vote: the rater knew the two known answers for what they are."""

    number: int
    passed: bool
    reason: str
    model: str


@dataclass(frozen=True, slots=True)
class Rating:
    """What several votes make of one answer.

    Attributes:
        votes: the valid ones.
        error: why votes are missing; "" if none is.
        failure: the endpoint's error, where that is why.
    """

    votes: tuple[RaterVote, ...]
    error: str = ""
    failure: ChatError | None = None

    @property
    def passed(self) -> bool | None:
        """Whether more than half of the votes pass the answer; None without a vote."""
        return majority([vote.passed for vote in self.votes])

    @property
    def agreement(self) -> float | None:
        """Share of the votes that agree with the outcome, in [0.5, 1]; None without a vote."""
        return agreement([vote.passed for vote in self.votes])


class Rater:
    """Rates answers by the rubric of their family."""

    def __init__(self, chat: ChatClient, votes: int, seed: int = 0) -> None:
        """A rater that casts so many votes on each answer."""
        self._chat = chat
        self._seed = seed
        self.votes = votes

    def scorer_hash(self, rubric: Rubric) -> str:
        """Content hash of what decides a vote: the rubric, the known answers and the prompt."""
        prompt = self._chat.prompts.prompt("rate").hash
        return json_hash([rubric.text, rubric.reference, rubric.foil, prompt])

    async def rate(
        self, item: Item, answer: str, numbers: Sequence[int] | None = None, *, again: bool = False
    ) -> Rating:
        """Let votes be cast on an answer.

        Args:
            item: a rated instance.
            answer: as extracted from an expert's reply. The empty one fails without a call.
            numbers: the votes that are wanted, all by default.
            again: whether votes that were void in an earlier session are cast again.

        Raises:
            BudgetExhausted: the rater may not call any more.
        """
        wanted = range(self.votes) if numbers is None else numbers
        if not answer.strip():
            return Rating(tuple(RaterVote(n, False, "an empty answer", "none") for n in wanted))
        with span("grade", "rate", code_hash=item.code_hash, votes=len(wanted)) as work:
            cast = await all_of(self._vote(item, answer, number, again) for number in wanted)
            votes = tuple(vote for vote in cast if isinstance(vote, RaterVote))
            rating = Rating(
                votes,
                next((str(vote) for vote in cast if not isinstance(vote, RaterVote)), ""),
                next((vote for vote in cast if isinstance(vote, ChatError)), None),
            )
            work.set(output=f"{rating.passed}, agreement {rating.agreement}")
        return rating

    async def _vote(
        self, item: Item, answer: str, number: int, again: bool
    ) -> RaterVote | ChatError | str:
        """One vote, or why there is none; a void vote is cast once more in each session.

        Void votes of earlier sessions stay on record and are passed over: each is found in the
        cache, and the first question beyond them is a new one.
        """
        tries_left = TRIES
        for sample in count(number, self.votes):
            try:
                vote, replayed = await self._ask(item, answer, number, sample)
            except (EndpointError, ContextLengthError) as error:
                return error
            tries_left -= not (again and replayed)
            if isinstance(vote, RaterVote) or tries_left == 0:
                return vote
        raise AssertionError("unreachable")

    async def _ask(
        self, item: Item, answer: str, number: int, sample: int
    ) -> tuple[RaterVote | str, bool]:
        """A vote, or why it is void; and whether it is one of an earlier session."""
        assert item.rubric is not None
        known = {
            "answer": answer,
            "reference": item.rubric.reference,
            "foil": item.rubric.foil,
        }
        order = _ORDERS[sample % len(_ORDERS)]
        drawn = derive_seed(self._seed, 0, f"rate/{item.instance_hash}", sample)
        completion = await self._chat.ask(
            "rate",
            Place(item.instance_hash, sample=sample, seed=drawn),
            {
                "instructions": item.instructions,
                "rubric": item.rubric.text,
                "answers": {label: known[who] for label, who in zip(_LABELS, order, strict=True)},
            },
            RatingReply,
        )
        if completion.parsed is None:
            unread = f"the rater's vote could not be read: {completion.problem}"
            return unread, completion.replayed
        vote = self._read(completion.parsed, order, number)
        return vote, completion.replayed

    def _read(self, reply: RatingReply, order: Sequence[str], number: int) -> RaterVote | str:
        said = dict(zip(order, (reply.A, reply.B, reply.C), strict=True))
        if said["reference"] != "pass":
            return "the vote is void: the rater failed the reference answer"
        if said["foil"] != "fail":
            return "the vote is void: the rater passed a wrong answer"
        return RaterVote(number, said["answer"] == "pass", reply.reason, self._chat.model("rater"))


class RatingReply(BaseModel):
    """Whether each of three answers meets a rubric."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    A: Literal["pass", "fail"]
    B: Literal["pass", "fail"]
    C: Literal["pass", "fail"]
