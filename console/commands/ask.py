"""`acdc ask`: one question, N answers, who said what and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.progress import Progress
from agents.task_force.methods import method_named
from console.commands.frame import (
    METHOD,
    Alone,
    AsJson,
    Debug,
    RunDir,
    app,
    errors,
    finish,
    note_unfinished,
    opened,
    out,
    print_json,
    run_async,
)
from console.display import Display
from console.run.folder import RunFolder

if TYPE_CHECKING:
    from agents.task_force.collective import CollectiveAnswer


@app.command()
def ask(
    folder: RunDir,
    question: Annotated[str, typer.Argument(help="What to ask the collective.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Answers of the task force.")] = 3,
    select: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="How one answer is chosen; majority, logprob, chooser, ..."
        ),
    ] = METHOD,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Maximum tokens per answer (default: the run's judge.max_tokens)."
        ),
    ] = None,
    alone: Alone = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the collective of a run: N voices answer, one answer is chosen."""

    def action() -> None:
        place = opened(folder)
        note_unfinished(place)
        with Display(errors) as display:
            reply = run_async(answer(place, question, n, max_tokens, select, display, alone=alone))
        if short := fewer_than(n, len(reply.answers)):
            errors.print(short, style="yellow", highlight=False)
        if as_json:
            print_json(reply.as_json())
        else:
            show(reply, out)

    finish(action, debug)


async def answer(
    folder: RunFolder,
    question: str,
    size: int,
    max_tokens: int | None,
    method: str,
    progress: Progress,
    *,
    alone: bool = False,
) -> CollectiveAnswer:
    """Let the task force of a run answer a question; an unknown method is refused first.

    Each voice answers at its own temperature; `alone` asks N different experts greedily instead.
    Experts may say as much as when they were graded, unless `max_tokens` says otherwise: an answer
    that is cut off before its end is none.
    """
    from agents.task_force.collective import Collective, Manner
    from console.run.reading import open_reading

    method_named(method)
    async with open_reading(folder, folder.config(), progress) as context:
        manner = Manner(max_tokens=max_tokens or context.config.judge.max_tokens)
        force = Collective.open(context, size, method, alone=alone)
        return await force.ask(question, manner)


def fewer_than(asked: int, found: int) -> str | None:
    """What to say where the force is smaller than was asked for; None where it is not."""
    if found >= asked:
        return None
    return f"{found} experts answer, not {asked}: the run has no more that are graded"


def show(reply: CollectiveAnswer, console: Console) -> None:
    """Print an answer for a person."""
    console.print(reply.answer, style="bold", markup=False, highlight=False)
    console.print(
        f"chosen by {reply.method} from {len(reply.answers)} answers; "
        f"agreement {reply.agreement:.0%}",
        style="dim",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("voice", "score", "answer", "said"):
        table.add_column(column)
    for place, candidate in enumerate(reply.answers):
        mark = "→ " if place == reply.winner else "  "
        said = (
            mark + candidate.voice.label,
            f"{reply.scores[place]:.3g}",
            candidate.extracted,
            candidate.text.strip(),
        )
        table.add_row(*map(Text, said))
    console.print(table)
