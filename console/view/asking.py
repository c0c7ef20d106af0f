"""Questions to the task force of a run: the only place of the viewer that loads an engine."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from agents.progress import silent
from console.errors import RequestError
from console.view.page import (
    Choice,
    Column,
    Fact,
    Facts,
    Form,
    Page,
    Query,
    Section,
    Table,
    Text,
    at,
)
from console.view.source import Source

if TYPE_CHECKING:
    from agents.context import ReadContext
    from agents.task_force.asked import AskedBefore
    from agents.task_force.collective import CollectiveAnswer

SIZES = ("1", "3", "5", "8")
METHODS = {
    "skill_routing": "skill routing: passes of similar families",
    "majority": "majority",
    "weighted_majority": "majority, weighted by fitness",
    "logprob": "logprob: how sure each is",
    "self_certainty": "self-certainty",
    "borda": "Borda count of self-certainty",
}
"""Those that ask no other model, in words."""


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


def asked_in(form: Query) -> tuple[str, int, str]:
    """Question, number of answers and method of a form that was sent.

    Raises:
        RequestError: one of them is missing, or cannot be.
    """
    question, size, method = (form.get(name, "") for name in ("question", "n", "select"))
    if not question.strip():
        raise RequestError("the question is empty: write one")
    if size not in SIZES:
        raise RequestError(f"n is {size!r}: as many as {', '.join(SIZES)} can answer")
    if method not in METHODS:
        raise RequestError(f"select is {method!r}: an answer is chosen by {', '.join(METHODS)}")
    return question, int(size), method


def asking_page(query: Query, reply: CollectiveAnswer | None = None) -> Page:
    """The form, and what was answered."""
    form = Form(
        [
            Choice("question", "Question", query.get("question", ""), long=True),
            Choice("n", "How many answer", query.get("n", "3"), [(size, size) for size in SIZES]),
            Choice(
                "select",
                "Chosen by",
                query.get("select", next(iter(METHODS))),
                [*METHODS.items()],
            ),
        ],
        button="Ask",
        post=True,
    )
    lead = (
        "The first question loads the models, which takes a while. Nothing is written into the run."
    )
    said = _said(reply, query.get("select", "")) if reply else []
    return Page("Ask", [form, *said], lead)


def _said(reply: CollectiveAnswer, asked: str) -> Iterator[Section]:
    """What was answered, whether to trust it, and who said what.

    Args:
        reply: of the task force.
        asked: the method that was asked for; another one may have had to stand in.
    """
    yield Facts("Answer", [*_short(reply, asked)])
    if reply.asked is not None:
        yield _against_reference(reply.asked)
    if reply.known is False:
        nearest = "".join(
            f" The most similar family is {each.name} (similarity {each.similarity:.2f} of 1)."
            for each in reply.nearest[:1]
        )
        yield Text(
            "Do not trust this answer",
            "Nothing like this question was asked in the run, so nobody knows how often its "
            f"experts are right about it.{nearest}",
            mark="wrong",
        )
    if reply.known:
        yield _why(reply)
    yield _voices(reply)


def _short(reply: CollectiveAnswer, asked: str) -> Iterator[Fact]:
    winner = reply.answers[reply.winner]
    equal = round(reply.agreement * len(reply.answers))
    method = reply.method.replace("_", " ")
    if reply.method != asked and asked:
        method += f", not {asked.replace('_', ' ')}: nothing similar was asked in the run"
    yield Fact("answer", reply.answer)
    yield Fact("given by", winner.voice.label, to=at("experts", winner.expert))
    yield Fact("agreement", f"{equal} of {len(reply.answers)} gave this answer")
    yield Fact("chosen by", method)
    yield Fact("time", reply.seconds, "seconds")


def _against_reference(asked: AskedBefore) -> Facts:
    """Whether the answer to a question of the run's own is right."""
    return Facts(
        "A question of this run",
        [
            Fact("family", asked.name, to=at("tasks", asked.family)),
            Fact("the answer is", asked.right, "verdict"),
            Fact("a right answer", asked.reference, "code"),
        ],
    )


def _why(reply: CollectiveAnswer) -> Table:
    """On what the choice rests."""
    rows = [
        {
            "family": each.family,
            "name": each.name,
            "similarity": each.similarity,
            "passed": ", ".join(f"{voice} {rate:.0%}" for voice, rate in each.rates.items())
            or "none of these voices",
        }
        for each in reply.nearest
    ]
    columns = [
        Column("name", "family", to="tasks/{family}"),
        Column("similarity", "similarity", "share"),
        Column("passed", "passed by"),
    ]
    note = "The families of the run that are most like the question; a similarity of 1 is the same."
    return Table("nearest", "Why", columns, rows, note)


def _voices(reply: CollectiveAnswer) -> Table:
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
    return Table(
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
        note=f"Score: {reply.unit}. Equal answers share one score. A temperature of 0 is greedy.",
    )
