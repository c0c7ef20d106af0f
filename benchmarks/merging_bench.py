"""Experts that answer the questions of `benchmarks.merging`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.judge.extraction import extract
from evolution.bank.bank import Bank
from evolution.engines import Broker, open_engine
from evolution.engines.base import Ask
from evolution.engines.encoding import Encoder, longest_context
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from memory.hashing import json_hash
from memory.records import ChatMessage, Sampling
from prompts import PromptLibrary
from seeds.domains import DOMAINS, GENERATORS, PASS_SCORE, Generator
from seeds.questions import Question, question

MAX_TOKENS = 32


@dataclass(frozen=True)
class Answered:
    question: Question
    chat: Sequence[ChatMessage]
    reply: str
    passed: bool


@dataclass(frozen=True)
class Text:
    """A prompt and a reply to it, as token ids.

    Attributes:
        tokens: of both.
        reply: how many of them are the reply's.
    """

    tokens: Sequence[int]
    reply: int

    @property
    def prompt(self) -> Sequence[int]:
        return self.tokens[: len(self.tokens) - self.reply]


class Bench:
    """Asks experts, greedily.

    Args:
        bank: of the experts.
        answers: folder in which replies are kept, and found again; None keeps none.
    """

    def __init__(self, bank: Bank, answers: Path | None = None) -> None:
        self.bank = bank
        self.broker = Broker(open_engine(bank, EngineSettings()))
        self._answers = answers
        self._prompts = PromptLibrary()
        self._encoder = Encoder(bank.tokenizer, longest_context(bank.config))

    async def ask(self, genome: Genome, questions: Sequence[Question]) -> list[Answered]:
        chats = [self.chat(each) for each in questions]
        replies = await self._replies(genome, chats)
        return [
            Answered(q, chat, reply, q.score(extract(reply).answer) >= PASS_SCORE)
            for q, chat, reply in zip(questions, chats, replies, strict=True)
        ]

    def chat(self, asked: Question) -> list[ChatMessage]:
        rendered = self._prompts.render("answer", instructions=asked.text)
        return [ChatMessage(role=role, content=content) for role, content in rendered.messages]

    def text(self, answered: Answered) -> Text:
        return Text(*self._encoder.encode_with(answered.chat, answered.reply))

    async def _replies(self, genome: Genome, chats: Sequence[Sequence[ChatMessage]]) -> list[str]:
        genome_id = self.bank.genome_id(genome)
        asked = [[message.content for message in chat] for chat in chats]
        key = json_hash([genome_id, MAX_TOKENS, asked], 32)
        kept = None if self._answers is None else self._answers / f"{key}.json"
        if kept is not None and kept.exists():
            return [str(reply) for reply in json.loads(kept.read_text())]
        ask = Ask(chats, Sampling(temperature=0.0, max_tokens=MAX_TOKENS))
        replies = [reply.text for reply in await self.broker.answer(genome_id, genome, ask)]
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(replies))
        return replies


def questions(seed: int, each: int) -> list[Question]:
    """Of all generators in turn, so many of each."""

    def of(number: int, generator: Generator) -> list[Question]:
        dataset = generator.dataset(seed + 10_000 * number, each)
        return [question(generator, dataset, index) for index in range(each)]

    return [
        q
        for domain in DOMAINS
        for n, generator in enumerate(GENERATORS[domain])
        for q in of(n, generator)
    ]
