"""How sure an expert was, read from the probabilities of its own tokens."""

from __future__ import annotations

from collections.abc import Sequence

from agents.task_force.ballot import Ballot, Choice, Vote, elect
from agents.task_force.methods import Aids, method
from agents.task_force.voting import tally

BORDA_POWER = 1.0
"""Exponent of Borda votes; the paper finds small ones best for few samples."""


@method(
    "logprob",
    needs=("logprobs",),
    source="mean token log-probability; Adiwardana et al. (2020)",
    unit="mean log-probability of a token; 0 is certain",
)
async def logprob(ballot: Ballot, aids: Aids) -> Choice:
    """The reply of the highest mean log-probability per token."""
    return _surest(ballot, [candidate.logprob or 0.0 for candidate in ballot.candidates])


@method("self_certainty", needs=("logprobs",), source="Kang et al., self-certainty (2025)")
async def self_certainty(ballot: Ballot, aids: Aids) -> Choice:
    """The reply whose token distributions lie farthest from uniform."""
    return _surest(ballot, [candidate.certainty or 0.0 for candidate in ballot.candidates])


@method("borda", needs=("logprobs",), source="Kang et al. (2025), section 3.4: Borda voting")
async def borda(ballot: Ballot, aids: Aids) -> Choice:
    """A vote weighted by the rank of self-certainty: N - r + 1 votes for the r-th surest."""
    certainty = [candidate.certainty or 0.0 for candidate in ballot.candidates]
    ranked = sorted(range(len(certainty)), key=lambda place: (-certainty[place], place))
    weights = [0.0] * len(certainty)
    for rank, place in enumerate(ranked):
        weights[place] = (len(certainty) - rank) ** BORDA_POWER
    return tally(ballot, weights)


def _surest(ballot: Ballot, measure: Sequence[float]) -> Choice:
    votes = [
        Vote(candidate.voice.label, place, value)
        for place, (candidate, value) in enumerate(zip(ballot.candidates, measure, strict=True))
    ]
    return elect(measure, votes)
