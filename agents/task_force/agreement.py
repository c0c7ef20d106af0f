"""When enough voices agree, no others need to be asked.

Voices are asked in the order of the force, the fittest first, each time as many as must still say
the same before K can agree; fewer could not end it, so none of them is asked in vain, and who is
asked does not depend on who answers first. Where no answer can have K voices any more, all are
asked, and the method chooses as without a limit.

Source: early stopping of self-consistency; Aggarwal et al., Adaptive-Consistency (2023), with a
count in place of their posterior.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.errors import AnsweringError
from agents.task_force.ballot import Ballot, CandidateAnswer, Choice, normalise
from agents.task_force.voting import tally

AGREEMENT = "agreement"
"""What chose, where K voices agreed."""
FEWEST = 2
"""One voice agrees with nobody."""


def check_until_agree(until: int | None, voices: int) -> None:
    """Refuse a number that no voices of a force can reach.

    Raises:
        AnsweringError: with the numbers that there can be.
    """
    if until is not None and not FEWEST <= until <= voices:
        can = f"from {FEWEST} to {voices}" if voices >= FEWEST else "none"
        raise AnsweringError(
            f"until {until} agree: the force has {voices} voice{'s' if voices > 1 else ''}, so "
            f"the number can be {can}"
        )


def still_to_ask(heard: Sequence[CandidateAnswer], voices: int, until: int | None) -> int:
    """How many more voices have to be asked now; 0 once enough are heard.

    Args:
        heard: what was said so far, in the order of the force.
        voices: N.
        until: as many voices have to agree; None asks all at once.
    """
    left = voices - len(heard)
    if until is None:
        return left
    missing = until - max(_counts(heard).values(), default=0)
    return missing if 0 < missing <= left else left if missing > 0 else 0


def agreed(ballot: Ballot, until: int) -> Choice | None:
    """The answer on which so many voices agree, if there is one; of its voices, the fittest's."""
    counts = _counts(ballot.candidates)
    if max(counts.values(), default=0) < until:
        return None
    return tally(ballot, [float(counted) for _, counted in _voters(ballot.candidates)])


def asked_of(ballot: Ballot, until: int) -> Ballot:
    """What would have been heard of a whole ballot: those who are asked until enough agree."""
    asked, voices = 0, len(ballot.candidates)
    while more := still_to_ask(ballot.candidates[:asked], voices, until):
        asked += more
    return ballot.narrowed(range(asked))


def _counts(heard: Sequence[CandidateAnswer]) -> dict[str, int]:
    """Answer -> voices that gave it."""
    counts: dict[str, int] = {}
    for answer, counted in _voters(heard):
        if counted:
            counts[answer] = counts.get(answer, 0) + 1
    return counts


def _voters(heard: Sequence[CandidateAnswer]) -> Iterator[tuple[str, bool]]:
    """Each answer, and whether it counts: silence does not.

    Samples of one voice are voices of their own; a greedy one that stands in the force twice says
    the same twice, and agrees with nobody by that.
    """
    greedy = set()
    for candidate in heard:
        answer = normalise(candidate.extracted)
        again = candidate.voice in greedy
        if candidate.voice.greedy:
            greedy.add(candidate.voice)
        yield answer, bool(answer) and not again
