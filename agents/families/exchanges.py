"""Questions of families with the replies of experts, as the run store has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.families.items import Item, asked_before
from memory.records import FINALS, Exchange, Expert, Family, Said
from memory.store import RunStore

REPLIES = 4
"""So many replies of an exchange are shown."""
QUESTION_LENGTH, ANSWER_LENGTH = 600, 200


def exchanges_of(store: RunStore, family: Family, experts: Sequence[Expert]) -> list[Exchange]:
    """What a family asked in periods that are over; ungraded answers are left out.

    The latest comes first, last what it was written with, and nothing of the finals.
    """
    found = []
    for item in asked_before(store, family, FINALS):
        replies = [said for expert in experts if (said := _said(store, expert, item))]
        if replies:
            found.append(
                Exchange(
                    question=item.instructions, reference=item.reference, replies=tuple(replies)
                )
            )
    return found


def _said(store: RunStore, expert: Expert, item: Item) -> Said | None:
    answer = store.answer_to(expert.genome_id, item.instance_hash)
    passed = store.verdict(answer.key) if answer is not None else None
    if answer is None or passed is None:
        return None
    return Said(expert=expert.id, answer=answer.extracted, passed=passed)


def passed_by(exchange: Exchange) -> int:
    """How many experts pass a question."""
    return sum(said.passed for said in exchange.replies)


def separates(exchange: Exchange) -> bool:
    """Whether some experts pass a question and some fail it."""
    return 0 < passed_by(exchange) < len(exchange.replies)


def telling(families: Iterable[Sequence[Exchange]], most: int) -> tuple[Exchange, ...]:
    """A few exchanges of different families, shortened: some that separate, one of each other kind.

    Args:
        families: the exchanges of each family.
        most: so many at most.
    """
    best = [max(group, key=separates) for group in families if group]
    separating = [exchange for exchange in best if separates(exchange)]
    failed = [exchange for exchange in best if not passed_by(exchange)]
    solved = [exchange for exchange in best if exchange not in separating + failed]
    first = [*separating[: max(1, most - 2)], *failed[:1], *solved[:1]]
    rest = [exchange for exchange in best if exchange not in first]
    return tuple(shortened(exchange) for exchange in [*first, *rest][:most])


def shortened(exchange: Exchange) -> Exchange:
    """An exchange with few replies, of both verdicts where there are both, and no long text."""
    right = [said for said in exchange.replies if said.passed]
    wrong = [said for said in exchange.replies if not said.passed]
    few = min(len(right), max(REPLIES // 2, REPLIES - len(wrong)))
    chosen = [*right[:few], *wrong[: REPLIES - few]]
    return Exchange(
        question=cut_middle(exchange.question, QUESTION_LENGTH),
        reference=cut_middle(exchange.reference, ANSWER_LENGTH),
        replies=tuple(
            said.model_copy(update={"answer": cut_middle(said.answer, ANSWER_LENGTH)})
            for said in chosen
        ),
    )


def cut_middle(text: str, most: int) -> str:
    """A text of so many characters at most, without its middle if it is longer."""
    if len(text) <= most:
        return text
    head, tail = most // 3, most - most // 3 - 3
    return f"{text[:head]} … {text[-tail:]}"
