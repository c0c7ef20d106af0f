"""How a seed expert is asked and read, the same in training and in evaluation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from prompts.library import PromptLibrary
from seeds.domains import GENERATORS, Domain, Generator

HELD_OUT_SEED = 1_000_000_000
"""Seeds from here on belong to the evaluation; training seeds lie below."""

_PROMPTS = PromptLibrary()


@dataclass(frozen=True)
class Question:
    """One instance of a generator: its text, its oracle answer and what its scorer needs."""

    generator: str
    text: str
    answer: str
    dataset: Any
    entry: dict[str, Any]

    def score(self, answer: str) -> float:
        """The scorer's grade of an extracted answer, 0 to 1."""
        return float(self.dataset.score_answer(answer, self.entry))


def question(generator: Generator, dataset: Any, index: int) -> Question:
    """Instance `index` of a dataset of this generator."""
    entry = dataset[index]
    return Question(generator.name, entry["question"], str(entry["answer"]), dataset, entry)


def held_out(domain: Domain, count: int) -> list[Question]:
    """`count` evaluation instances of each generator of a domain, from seeds of their own."""
    questions = []
    for generator in GENERATORS[domain]:
        stable = zlib.crc32(generator.name.encode()) % 100_000
        dataset = generator.dataset(HELD_OUT_SEED + 10_000 * stable, count)
        questions += [question(generator, dataset, index) for index in range(count)]
    return questions


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """Tokens of the rendered prompt, up to where the answer begins."""
    messages = [
        {"role": role, "content": content}
        for role, content in _PROMPTS.render("answer", instructions=text).messages
    ]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(rendered, add_special_tokens=False).input_ids)


def answer_tokens(tokenizer: Any, answer: str) -> list[int]:
    """Tokens of the completion to learn: the marked answer and the end of the turn."""
    marked = tokenizer(f"Answer: {answer}", add_special_tokens=False).input_ids
    return [*marked, tokenizer.eos_token_id]


def extract(reply: str) -> str:
    """The text after the last `Answer:`, or the whole reply if there is none."""
    return reply.rpartition("Answer:")[2].strip()
