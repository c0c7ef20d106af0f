"""`acdc ask`: one question, N answers, who said what and how far they agree."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.progress import Progress
from agents.task_force.collective import CollectiveAnswer, ask
from agents.task_force.methods import method_named
from console.run.folder import RunFolder
from console.run.reading import open_reading
from memory.records import Sampling


async def answer(
    folder: RunFolder,
    question: str,
    size: int,
    max_tokens: int | None,
    method: str,
    progress: Progress,
) -> CollectiveAnswer:
    """Let the task force of a run answer a question; an unknown method is told at once.

    Experts may say as much as when they were graded, unless `max_tokens` says otherwise: an answer
    that is cut off before its end is none.
    """
    method_named(method)
    async with open_reading(folder, folder.config(), progress) as context:
        sampling = Sampling(max_tokens=max_tokens or context.config.judge.max_tokens)
        return await ask(context, question, size, sampling, method)


def as_json(reply: CollectiveAnswer) -> dict[str, Any]:
    """The JSON that programs rely on."""
    return reply.as_json()


def fewer_than(asked: int, found: int) -> str | None:
    """What to say where the force is smaller than was asked for; None where it is not."""
    if found >= asked:
        return None
    return f"{found} experts answer, not {asked}: the run has no more that are graded"


def show(reply: CollectiveAnswer, console: Console) -> None:
    """Print an answer for a person."""
    console.print(reply.answer, style="bold", markup=False, highlight=False)
    console.print(
        f"chosen by {reply.method} from {len(reply.answers)}; {reply.agreement:.0%} agree",
        style="dim",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("expert", "score", "answer", "said"):
        table.add_column(column)
    for candidate, score in zip(reply.answers, reply.scores, strict=True):
        mark = "→ " if candidate.expert == reply.chosen else "  "
        said = (
            mark + candidate.expert,
            f"{score:.3g}",
            candidate.extracted,
            candidate.text.strip(),
        )
        table.add_row(*map(Text, said))
    console.print(table)
