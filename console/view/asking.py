"""Questions to the task force of a run: the only place of the viewer that loads an engine."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from agents.progress import silent
from console.view.page import Choice, Column, Fact, Facts, Form, Page, Query, Section, Table
from console.view.source import Source

if TYPE_CHECKING:
    from agents.context import ReadContext
    from agents.task_force.collective import CollectiveAnswer

SIZES = ("1", "3", "5", "8")
METHODS = ("skill_routing", "majority", "weighted_majority", "logprob", "self_certainty", "borda")
"""Those that ask no other model."""


class Asker:
    """Lets the task forces of runs answer, one question at a time; models stay loaded."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._open: dict[str, ReadContext] = {}

    async def ask(self, source: Source, question: str, size: int, method: str) -> CollectiveAnswer:
        """One answer chosen out of N.

        Raises:
            AcdcError: the run, or its models, cannot be opened, or nobody is graded yet.
        """
        # Loading torch takes seconds, in which other pages are to be answered.
        await asyncio.to_thread(importlib.import_module, "console.run.reading")
        from agents.task_force.collective import Collective, Manner

        async with self._turn:
            context = await self._context(source)
            force = Collective.open(context, size, method)
            return await force.ask(question, Manner(max_tokens=context.config.judge.max_tokens))

    async def _context(self, source: Source) -> ReadContext:
        from console.run.reading import open_reading

        if source.name not in self._open:
            reading = open_reading(source.folder, source.folder.config(), silent)
            self._open[source.name] = await self._stack.enter_async_context(reading)
        return self._open[source.name]

    async def close(self) -> None:
        """Let the models go."""
        await self._stack.aclose()


def asking_page(query: Query, reply: CollectiveAnswer | None = None) -> Page:
    """The form, and what was answered."""
    form = Form(
        [
            Choice("question", "Question", query.get("question", "")),
            Choice("n", "Answers", query.get("n", "3"), [(size, size) for size in SIZES]),
            Choice(
                "select",
                "Chosen by",
                query.get("select", METHODS[0]),
                [(name, name.replace("_", " ")) for name in METHODS],
            ),
        ],
        button="Ask",
        post=True,
    )
    lead = (
        "The first question loads the models, which takes a while. Nothing is written into the run."
    )
    return Page("Ask", [form, *(_said(reply) if reply else [])], lead)


def _said(reply: CollectiveAnswer) -> list[Section]:
    rows = [
        {
            "expert": each.expert,
            "temperature": each.temperature,
            "chosen": place == reply.winner,
            "score": reply.scores[place],
            "extracted": each.extracted,
            "text": each.text,
            "tokens": each.tokens,
        }
        for place, each in enumerate(reply.answers)
    ]
    return [
        Facts(
            "Answer",
            [
                Fact("answer", reply.answer),
                Fact("of", reply.chosen),
                Fact("agreement", reply.agreement, "share"),
                Fact("chosen by", reply.method),
                Fact("time", reply.seconds, "seconds"),
            ],
        ),
        Table(
            "answers",
            "Who said what",
            [
                Column("expert", "expert", to="experts/{expert}"),
                Column("temperature", "temperature", "number"),
                Column("chosen", "chosen", "yes"),
                Column("score", "score", "number"),
                Column("extracted", "answer", "code"),
                Column("text", "whole reply", "code"),
                Column("tokens", "tokens", "count"),
            ],
            rows,
        ),
    ]
