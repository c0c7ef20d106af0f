"""Voices vote for their own answers; equal answers pool their votes."""

from __future__ import annotations

from collections.abc import Sequence

from agents.task_force.ballot import Ballot, Choice, Vote
from agents.task_force.methods import Aids, method


@method("majority", source="Wang et al., self-consistency (2022)", unit="votes")
async def majority(ballot: Ballot, aids: Aids) -> Choice:
    """The most frequent answer; ties go to the fitter voice's."""
    return tally(ballot, [1.0] * len(ballot.candidates))


@method(
    "weighted_majority",
    source="Littlestone and Warmuth, weighted majority (1994)",
    unit="fitness of all that said so, added up",
)
async def weighted_majority(ballot: Ballot, aids: Aids) -> Choice:
    """The answer whose voices have the highest sum of fitness in the finals."""
    return tally(ballot, [candidate.fitness for candidate in ballot.candidates])


@method(
    "skill_routing",
    needs=("history",),
    source="nearest neighbours in the run's own task history; cf. PackLLM (2024)",
    unit="pass rates on the nearest families of all that said so, added up",
)
async def skill_routing(ballot: Ballot, aids: Aids) -> Choice:
    """Votes weighted by what each voice passes of the families most like the question."""
    assert aids.router is not None
    voices = [candidate.voice for candidate in ballot.candidates]
    weights = aids.router.weights(ballot.question, voices)
    return tally(ballot, [weights[voice] for voice in voices])


def tally(ballot: Ballot, weights: Sequence[float]) -> Choice:
    """Each candidate scores the weights of all that gave its answer.

    Where weights tie, the number of votes decides, then the place on the ballot.
    """
    votes = [
        Vote(candidate.voice.label, place, weight)
        for place, (candidate, weight) in enumerate(zip(ballot.candidates, weights, strict=True))
    ]
    totals = dict.fromkeys(ballot.answers, 0.0)
    for answer, weight in zip(ballot.answers, weights, strict=True):
        totals[answer] += weight
    scores = tuple(totals[answer] for answer in ballot.answers)
    winner = max(
        range(len(scores)),
        key=lambda place: (scores[place], ballot.answers.count(ballot.answers[place]), -place),
    )
    return Choice(winner, scores, tuple(votes))
