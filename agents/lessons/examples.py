"""Questions with right answers, in tokens: what is new, and what is replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from agents.context import ReadContext
from agents.families.items import Item
from agents.judge.extraction import extract
from agents.judge.passed import passed_answers
from evolution.bank.bank import Bank
from evolution.engines.encoding import Encoder, longest_context
from evolution.errors import PromptTooLongError
from evolution.tutoring.packing import Example
from memory.records import Answer, Expert


def labelled(
    context: ReadContext, bank: Bank, asked: Iterable[tuple[Item, Sequence[str]]]
) -> tuple[list[Example], int]:
    """Instances with an answer to learn: somebody's own that is right, or the reference.

    Args:
        context: of the run.
        bank: gives the tokenizer.
        asked: instances, each with the genomes whose answers to it come before the reference.

    Returns:
        The examples, and how many of their answers are an expert's own. Without an answer that is
        read as it is meant and fits into a reply, an instance is left out.
    """
    write = Writer(context, bank)
    found: list[Example] = []
    own = 0
    for item, genomes in asked:
        answers = (_own_answer(context, genome, item) for genome in genomes)
        text = next((answer for answer in answers if answer is not None), None)
        example = write.example(item, text or _stated(item))
        if example is not None:
            found.append(example)
            own += text is not None
    return found, own


def replayed(
    context: ReadContext,
    bank: Bank,
    expert: Expert,
    most: int,
    generation: int,
    rng: np.random.Generator,
) -> list[Example]:
    """What an expert passes already, with its own replies; as `passed_answers`."""
    write = Writer(context, bank)

    def encoded() -> Iterator[Example]:
        for item, answer in passed_answers(context, expert, generation, rng):
            example = write.example(item, answer.reply.text) if _is_whole(answer) else None
            if example is not None:
                yield example

    return list(islice(encoded(), most))


class Writer:
    """Turns questions and answers into examples.

    Args:
        context: of the run.
        bank: gives the tokenizer.
    """

    def __init__(self, context: ReadContext, bank: Bank) -> None:
        self._context = context
        self._encoder = Encoder(bank.tokenizer, longest_context(bank.config))
        ends, usual = bank.end_tokens, bank.tokenizer.eos_token_id
        self._end = [usual] if usual in ends else sorted(ends)[:1]

    def example(self, item: Item, text: str) -> Example | None:
        """A question with an answer; None without one, or where it is longer than a reply."""
        chat = self._context.render_question(item.instructions)
        try:
            tokens, learnt = self._encoder.encode_with(chat, text)
        except PromptTooLongError:
            return None
        learnt += len(self._end)
        if not text or learnt > self._context.config.judge.max_tokens:
            return None
        return Example([*tokens, *self._end], learnt)


def _own_answer(context: ReadContext, genome_id: str, item: Item) -> str | None:
    """What an expert has answered rightly, marked as an answer and ended by itself."""
    answer = context.store.right_answer_to(genome_id, item.instance_hash)
    if answer is None or answer.unmarked or not _is_whole(answer):
        return None
    return answer.reply.text


def _stated(item: Item) -> str:
    """The reference as experts are asked to answer; nothing where it would be read otherwise."""
    meant, text = item.reference.strip(), f"Answer: {item.reference}"
    return text if meant and extract(text).answer == meant else ""


def _is_whole(answer: Answer) -> bool:
    return answer.reply.finish_reason == "stop"
