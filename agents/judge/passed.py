"""What an expert is right on, of all that it was asked before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agents.context import ReadContext
from agents.families.items import Item, asked_before
from memory.records import Answer, Expert


def passed_answers(
    context: ReadContext, expert: Expert, generation: int, rng: np.random.Generator
) -> Iterator[tuple[Item, Answer]]:
    """Instances of active families that an expert passes, each with its right answer.

    One instance of each family comes before the second of any.

    Args:
        context: of the run.
        expert: whose answers are graded.
        generation: the instances of its period, on which it is still ranked, are left out.
        rng: draws the order of the families.
    """
    period = context.period_of(generation)
    families = context.store.families("active")
    asked = [
        asked_before(context.store, families[i], period) for i in rng.permutation(len(families))
    ]
    # Not what the finals of an earlier end of the run have sampled.
    samples = context.config.judge.samples
    for place in range(max(map(len, asked), default=0)):
        for items in asked:
            if place < len(items):
                item = items[place]
                answer = context.store.right_answer_to(
                    expert.genome_id, item.instance_hash, samples
                )
                if answer is not None:
                    yield item, answer
