"""Language models judge the answers: all at once, in pairs, or one by one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.chat.client import ChatClient, Place
from agents.chat.structured import Completion
from agents.task_force.ballot import Ballot, Choice, Vote, elect
from agents.task_force.methods import Aids, AnswerJudge, method
from memory.hashing import json_hash
from memory.randomness import stream

_VERDICT = re.compile(
    r"^[^\w\n]*+(?:choice|score)[^\w:]*+:\W*+(\d+(?:\.\d+)?)", re.IGNORECASE | re.MULTILINE
)
"""The quantifiers are possessive, so that no reply can make the search quadratic."""


def read_verdict(text: str) -> float | None:
    """The number that a judge named last as its choice or score; None if it named none."""
    found = _VERDICT.findall(text)
    return float(found[-1]) if found else None


@dataclass(frozen=True)
class ChatJudge:
    """The chooser and the rater of a run.

    Attributes:
        shown: characters of each answer that they see, from its end, where the answer stands.
    """

    chat: ChatClient
    shown: int = 4000

    async def choose(self, question: str, answers: list[str], turn: int) -> int | None:
        """Ask the chooser which of several answers is right."""
        shown = [self._cut(answer) for answer in answers]
        number = await self._ask("choose", turn, question=question, answers=shown)
        whole = number is not None and number.is_integer() and 1 <= number <= len(answers)
        return int(number) - 1 if number is not None and whole else None

    async def compare(self, question: str, first: str, second: str) -> int | None:
        """Ask the chooser which of two answers is right."""
        shown = {"first": self._cut(first), "second": self._cut(second)}
        number = await self._ask("compare", 0, question=question, **shown)
        return int(number) - 1 if number in (1.0, 2.0) else None

    async def appraise(self, question: str, answer: str, turn: int) -> float | None:
        """Ask the rater for a score."""
        shown = self._cut(answer)
        number = await self._ask("appraise", turn, question=question, answer=shown)
        return number if number is not None and 1 <= number <= 10 else None

    async def _ask(self, prompt: str, turn: int, **variables: object) -> float | None:
        place = Place(f"answer-{json_hash(variables)}", sample=turn, seed=turn)
        completion: Completion = await self.chat.ask(prompt, place, variables)
        return read_verdict(completion.text)

    def _cut(self, answer: str) -> str:
        return answer if len(answer) <= self.shown else "[...] " + answer[-self.shown :]


@method(
    "chooser",
    needs=("chooser",),
    source="AC/DC, monarchical judge; with order randomised",
    unit="votes of the chooser",
)
async def chooser(ballot: Ballot, aids: Aids) -> Choice:
    """A model sees all different answers at once, several times, each time in another order."""
    judge = aids.chooser
    assert judge is not None

    async def one(turn: int) -> Vote:
        order = stream(ballot.seed, 0, "chooser", turn).permutation(len(ballot.distinct))
        shown = [ballot.distinct[int(place)] for place in order]
        texts = [ballot.candidates[place].text for place in shown]
        found = await judge.choose(ballot.question, texts, turn)
        winner = None if found is None else shown[found]
        return Vote(f"chooser, pass {turn + 1}", winner, 1.0, f"shown in the order {shown}")

    votes = await asyncio.gather(*(one(turn) for turn in range(aids.passes)))
    return _counted(ballot, votes)


@method("knockout", needs=("chooser",), source="AC/DC, divide and conquer; in both orders")
async def knockout(ballot: Ballot, aids: Aids) -> Choice:
    """Pairs of different answers, each compared in both orders; the winner of each goes on."""
    judge = aids.chooser
    assert judge is not None
    lot = stream(ballot.seed, 0, "knockout").permutation(len(ballot.distinct))
    left = [ballot.distinct[int(place)] for place in lot]
    votes: list[Vote] = []
    round_ = 0
    while len(left) > 1:
        round_ += 1
        pairs = list(zip(left[::2], left[1::2], strict=False))
        bye = [left[-1]] if len(left) % 2 else []
        duels = await asyncio.gather(
            *(_duel(judge, ballot, min(pair), max(pair), round_) for pair in pairs)
        )
        votes += [vote for _, cast in duels for vote in cast]
        left = [winner for winner, _ in duels] + bye
    scores = [0.0] * len(ballot.candidates)
    for vote in votes:
        if vote.candidate is not None:
            scores[vote.candidate] += vote.weight
    # Whoever had a bye may have fewer points than one who lost late.
    scores[left[0]] = max(scores) + 1.0
    return elect(scores, votes)


async def _duel(
    judge: AnswerJudge, ballot: Ballot, one: int, other: int, round_: int
) -> tuple[int, list[Vote]]:
    """Who goes on; a judge that wavers with the order leaves it to the earlier on the ballot."""
    texts = {place: ballot.candidates[place].text for place in (one, other)}
    orders = [(one, other), (other, one)]
    found = await asyncio.gather(
        *(judge.compare(ballot.question, texts[a], texts[b]) for a, b in orders)
    )
    votes = [
        Vote(
            f"chooser, round {round_}",
            None if verdict is None else order[verdict],
            1.0,
            f"{order[0]} shown before {order[1]}",
        )
        for order, verdict in zip(orders, found, strict=True)
    ]
    for_other = sum(vote.candidate == other for vote in votes)
    for_one = sum(vote.candidate == one for vote in votes)
    return (other if for_other > for_one else one), votes


@method(
    "rating",
    needs=("rater",),
    source="AC/DC, scores from 1 to 10; Zheng et al. (2023)",
    unit="mean mark of the rater, 1 to 10",
)
async def rating(ballot: Ballot, aids: Aids) -> Choice:
    """A model gives each different answer a score from 1 to 10, several times; the mean counts."""
    judge = aids.rater
    assert judge is not None

    async def one(place: int, turn: int) -> Vote:
        score = await judge.appraise(ballot.question, ballot.candidates[place].text, turn)
        voter = f"rater, pass {turn + 1}"
        return (
            Vote(voter, None, 0.0, f"no score for {place}")
            if score is None
            else Vote(voter, place, score)
        )

    rounds = [(place, turn) for place in ballot.distinct for turn in range(aids.passes)]
    votes = await asyncio.gather(*(one(place, turn) for place, turn in rounds))
    means = {}
    for place in ballot.distinct:
        given = [vote.weight for vote in votes if vote.candidate == place]
        means[ballot.answers[place]] = sum(given) / len(given) if given else 0.0
    return elect([means[answer] for answer in ballot.answers], votes)


def _counted(ballot: Ballot, votes: Sequence[Vote]) -> Choice:
    """Votes for an answer count for all candidates that gave it."""
    counts = dict.fromkeys(ballot.answers, 0.0)
    for vote in votes:
        if vote.candidate is not None:
            counts[ballot.answers[vote.candidate]] += vote.weight
    return elect([counts[answer] for answer in ballot.answers], votes)
