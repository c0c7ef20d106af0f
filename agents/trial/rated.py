"""The gates of rated families: how the rater grades known answers by the rubric.

- `rubric_missing`: rated, but without a rubric;
- `no_rater`: no model is configured that can rate;
- `length_tells`: every wrong answer of an instance is shorter than its reference, so that a rater
  that prefers long answers would seem right;
- `rater_undecided`: the rater does not separate the reference from the longest wrong answer;
- `wrong_passes`, `echo_passes`, `constant_answer`: as for code, by the rater's votes. The empty
  answer fails without being rated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agents.families.items import Item, items_of
from agents.families.proposal import Proposal
from agents.judge.rater import Rater
from memory.records import GateCode, GateReport


class _Trap(NamedTuple):
    """An answer that must fail, and the gate report if it does not."""

    item: Item
    answer: str
    code: GateCode
    detail: str


def text_complaint(proposal: Proposal, *, can_rate: bool) -> GateReport | None:
    """What is wrong with the text of a rated proposal, before it is run; None if nothing is."""
    if not proposal.rated:
        return None
    if not (proposal.rubric or "").strip():
        return GateReport(code="rubric_missing", detail="a rated family needs a rubric")
    if not can_rate:
        return GateReport(
            code="no_rater", detail="no rater grades answers: let score decide, and rated be false"
        )
    for instance, reference in proposal.references.items():
        if max(map(len, proposal.wrong[instance])) < len(reference):
            return GateReport(
                code="length_tells",
                detail=f"instance {instance} needs a wrong answer that is at least as long as its "
                f"reference ({len(reference)} characters), so that length tells nothing",
            )
    return None


async def rated_gates(rater: Rater, proposal: Proposal, passed: GateReport) -> GateReport:
    """Have the rater grade answers whose grade is known.

    The reference and the longest wrong answer of an instance are part of every vote: votes that get
    them wrong are void, and a rubric under which more than half are void is `rater_undecided`.

    Args:
        rater: casts the votes.
        proposal: a rated draft.
        passed: the report of the gates on its code, which it passed.

    Raises:
        EndpointError, ContextLengthError, BudgetExhausted: nothing is known about the proposal.
    """
    for trap in _traps(items_of(proposal.to_family(passed))):
        rating = await rater.rate(trap.item, trap.answer)
        if rating.failure is not None:
            raise rating.failure
        if 2 * len(rating.votes) <= rater.votes:
            detail = f"instance {trap.item.instance}: {rating.error}; sharpen the rubric"
            return passed.model_copy(update={"code": "rater_undecided", "detail": detail})
        if rating.passed:
            return passed.model_copy(update={"code": trap.code, "detail": trap.detail})
    return passed


def _traps(items: list[Item]) -> Iterator[_Trap]:
    for item, other in zip(items, reversed(items), strict=True):
        assert item.rubric is not None
        assert other.rubric is not None
        here = f"of instance {item.instance}"
        yield _Trap(
            item, item.instructions, "echo_passes", f"the rater passes the bare instruction {here}"
        )
        for answer in item.rubric.foils[1:]:
            yield _Trap(
                item, answer, "wrong_passes", f"the rater passes the wrong answer {answer!r} {here}"
            )
        yield _Trap(
            item,
            other.rubric.reference,
            "constant_answer",
            f"the rater passes the other instance's reference {here}: one answer would do for both",
        )
