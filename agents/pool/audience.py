"""Who answers: the description of the population in the prompts of scientists.

Once there is an archive, its stored answers on the active pool are told. At the founding there is
none: the seeds answer a few instances of the example programs, which the run store keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

from agents.concurrency import all_of
from agents.context import RunContext
from agents.families.exchanges import exchanges_of, telling
from agents.families.items import Item
from agents.judge.examiner import Result, examiner_of
from agents.pool.habits import habits_of
from evolution.bank.bank import Bank
from memory.hashing import text_hash
from memory.records import Audience, Exchange, Said, drawn
from prompts import example_programs

SHOWN = 4
"""Questions that a scientist is shown."""
EXAMPLE_LEVELS = (1, 2)
EXAMPLE_SEED = 0


async def audience_of(context: RunContext) -> Audience:
    """The population as it is now.

    Raises:
        BankError: a checkpoint is missing, corrupt or of another architecture.
        SandboxError: the sandbox failed.
    """
    bank = await context.population.bank()
    if context.store.latest_archive() is not None:
        answered = _of_archive(context)
    else:
        answered = await _of_seeds(context, bank)
    return Audience(
        parameters=sum(math.prod(shape) for shape in bank.layout.shapes.values()),
        experts=context.config.population.capacity,
        max_tokens=context.config.judge.max_tokens,
        exchanges=telling(answered, SHOWN),
        habits=habits_of(list(chain.from_iterable(answered))),
    )


def _of_archive(context: RunContext) -> list[list[Exchange]]:
    """What the archive answered to the active families, the newest first."""
    store = context.store
    experts = store.archive_experts()
    return [exchanges_of(store, family, experts) for family in store.families("active")[::-1]]


async def _of_seeds(context: RunContext, bank: Bank) -> list[list[Exchange]]:
    """What seeds answer to each example program; nothing where no expert answers trials."""
    trained = [name for name in bank.seed_names if name != bank.base_name] or [bank.base_name]
    names = trained[: context.config.population.trial_panel]
    if not names:
        return []
    examiner = await examiner_of(context)
    questions = [await _questions(context, code) for code in example_programs().values()]
    items = [item for asked in questions for item, _ in asked]

    async def answers(name: str) -> dict[str, Result]:
        genome = bank.seed_genome(name)
        results = await examiner.examine(bank.genome_id(genome), genome, items)
        return {result.item.instance_hash: result for result in reversed(results)}

    answered = await all_of(answers(name) for name in names)
    said = list(zip(names, answered, strict=True))
    exchanges = [[_exchange(item, reference, said) for item, reference in q] for q in questions]
    return [[exchange for exchange in group if exchange.replies] for group in exchanges]


async def _questions(context: RunContext, code: str) -> list[tuple[Item, str]]:
    """Instances of an example program, each with its right answer."""
    seen = (await context.sandbox.inspect(code, (EXAMPLE_SEED,))).first
    names = [drawn(n, level, EXAMPLE_SEED) for level in EXAMPLE_LEVELS for n in ("1", "2")]
    return [
        (Item(code, text_hash(code), name, seen.instructions[name]), seen.references[name])
        for name in names
    ]


def _exchange(
    item: Item, reference: str, said: Sequence[tuple[str, dict[str, Result]]]
) -> Exchange:
    """A question with the replies that were graded."""
    replies = []
    for name, results in said:
        result = results[item.instance_hash]
        if result.answer is not None and result.passed is not None:
            replies.append(Said(expert=name, answer=result.answer.extracted, passed=result.passed))
    return Exchange(question=item.instructions, reference=reference, replies=tuple(replies))
