"""What an expert is right on: instances of the pool that it passed, with its own replies.

Only instances on which nobody is ranked any more, or ever: those with which families were written,
and those of adaptation periods that are over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np

from agents.context import RunContext
from agents.families.items import asked_before
from agents.judge.node import examine_experts
from agents.judge.passed import passed_answers
from evolution.bank.bank import Bank
from evolution.engines.encoding import Encoder, longest_context
from evolution.errors import PromptTooLongError
from memory.records import OWN, Expert


async def examine_own(context: RunContext, experts: Sequence[Expert]) -> None:
    """Let experts answer the instances with which the active families were written."""
    families = context.store.families("active")
    own = max((len(family.instructions) for family in families), default=0)
    await examine_experts(context, experts, families, OWN, own, "before merging")


def passed_texts(
    context: RunContext,
    bank: Bank,
    expert: Expert,
    most: int,
    generation: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Prompts and replies, as token ids, of instances of active families that an expert passes.

    Args:
        context: of the run.
        bank: gives the tokenizer.
        expert: whose answers are graded.
        most: how many are taken if there are more.
        generation: in which they are merged; the instances of its period are left out.
        rng: draws the families.
    """
    encoder = Encoder(bank.tokenizer, longest_context(bank.config))

    def encoded() -> Iterator[list[int]]:
        for item, answer in passed_answers(context, expert, generation, rng):
            chat = context.render_question(item.instructions)
            with suppress(PromptTooLongError):
                yield encoder.encode_with(chat, answer.reply.text)[0]

    return list(islice(encoded(), most))


def has_texts(context: RunContext, expert: Expert, generation: int) -> bool:
    """Whether an expert has answered anything that it may be merged by."""
    store, period = context.store, context.period_of(generation)
    asked = (asked_before(store, family, period) for family in store.families("active"))
    return any(
        store.answer_to(expert.genome_id, item.instance_hash) for items in asked for item in items
    )
