"""What an expert is right on: instances of the pool that it passed, with its own replies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.context import RunContext
from agents.families.items import items_of
from evolution.bank.bank import Bank
from evolution.engines.encoding import Encoder, longest_context
from evolution.errors import PromptTooLongError
from memory.records import Expert, Family


def passed_texts(
    context: RunContext, bank: Bank, expert: Expert, most: int, rng: np.random.Generator
) -> list[list[int]]:
    """Prompts and replies, as token ids, of instances of active families that an expert passes.

    One instance of each family comes before the second of any.

    Args:
        context: of the run.
        bank: gives the tokenizer.
        expert: graded by the judge.
        most: how many are drawn if there are more.
        rng: draws the families.
    """
    skills = context.store.skills(expert.id)
    passed = [family for family in context.store.families("active") if skills.get(family.id)]
    order = [passed[index] for index in rng.permutation(len(passed))]
    encoder = Encoder(bank.tokenizer, longest_context(bank.config))
    texts: list[list[int]] = []
    for place in range(max((len(family.instructions) for family in order), default=0)):
        for family in order:
            if len(texts) < most:
                texts += _text(context, encoder, expert, family, place)
    return texts


def _text(
    context: RunContext, encoder: Encoder, expert: Expert, family: Family, place: int
) -> Sequence[list[int]]:
    """Of one instance, by its number in the family; nothing where none is right."""
    items = items_of(family)
    if place >= len(items):
        return []
    item = items[place]
    answer = context.store.right_answer_to(expert.genome_id, item.instance_hash)
    if answer is None:
        return []
    try:
        chat = context.render_question(item.instructions)
        return [encoder.encode_with(chat, answer.reply.text)[0]]
    except PromptTooLongError:
        return []
