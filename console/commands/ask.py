"""`acdc ask`: one question, N answers, who said what and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.progress import Progress
from agents.task_force.ballot import normalise
from agents.task_force.methods import UNROUTED, method_named
from agents.task_force.suggestion import suggested_question
from console.commands.frame import (
    METHOD,
    Alone,
    AsJson,
    Debug,
    RunDir,
    UntilAgree,
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
from console.errors import UsageError
from console.run.folder import RunFolder
from memory.messages import count_of
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.task_force.asked import AskedBefore
    from agents.task_force.collective import CollectiveAnswer
    from agents.task_force.routing import NearFamily


EXAMPLES = """Examples:

acdc ask DIR    a question of the run's own history

acdc ask DIR "What is 12 + 30?" -n 8    of eight voices

acdc ask DIR "What is 12 + 30?" -n 8 --until-agree 3    of no more than it takes

acdc ask DIR "What is 12 + 30?" --select logprob --json
"""


@app.command(epilog=EXAMPLES)
def ask(
    folder: RunDir,
    question: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, a question of the run that it solves."),
    ] = None,
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
    until_agree: UntilAgree = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the collective of a run: N voices answer, one answer is chosen.

    A voice is an expert at a temperature; the task force is the N voices that together solve most.
    """

    def action() -> None:
        place = opened(folder)
        note_unfinished(place)
        asked = question if question is not None else _suggested(place, n)
        with Display(errors) as display:
            asking = answer(
                place, asked, n, max_tokens, select, display, alone=alone, until_agree=until_agree
            )
            reply = run_async(asking)
        if short := fewer_than(n, reply.voices):
            errors.message(short, style="yellow")
        if as_json:
            print_json(reply.as_json())
        else:
            show(reply, out)

    finish(action, debug)


def _suggested(place: RunFolder, size: int) -> str:
    """A question of the run's own, which is printed.

    Raises:
        UsageError: there is none that its force solves.
    """
    with RunStore.open(place.path, read_only=True) as store:
        question = suggested_question(store, size)
    if question is None:
        raise UsageError(
            f"the task force of {place.path} solves nothing that is known: name a question"
        )
    errors.message(f"asking: {question.strip()}")
    return question


async def answer(
    folder: RunFolder,
    question: str,
    size: int,
    max_tokens: int | None,
    method: str,
    progress: Progress,
    *,
    alone: bool = False,
    until_agree: int | None = None,
) -> CollectiveAnswer:
    """Let the task force of a run answer a question; an unknown method is refused first.

    Each voice answers at its own temperature; `alone` asks N different experts greedily instead.
    With `until_agree`, no more are asked once so many voices agree.
    Experts may say as much as when they were graded, unless `max_tokens` says otherwise: an answer
    that is cut off before its end is none.
    """
    from agents.task_force.collective import Collective, Manner
    from console.run.reading import open_reading

    method_named(method)
    async with open_reading(folder, folder.config(), progress) as context:
        longest = max_tokens or context.config.judge.max_tokens
        manner = Manner(max_tokens=longest, until_agree=until_agree)
        force = Collective.open(context, size, method, alone=alone)
        return await force.ask(question, manner)


def fewer_than(asked: int, found: int) -> str | None:
    """What to say where the force is smaller than was asked for; None where it is not."""
    if found >= asked:
        return None
    answer_ = "expert answers" if found == 1 else "experts answer"
    return f"{found} {answer_}, not {asked}: the run has no more that are graded"


def show(reply: CollectiveAnswer, console: Console) -> None:
    """Print an answer for a person: what it is, why, and who said what.

    What the run's history says nothing about looks different, since nobody knows who is to be
    trusted there. An answer to a question of the run's own is compared with what is right.
    """
    if reply.known is False:
        console.print(Text(f"uncertain: {reply.answer}", "yellow"))
    else:
        console.print(Text(reply.answer, "bold green" if reply.known else "bold"))
    if reply.asked is not None:
        console.print(_against_reference(reply.asked))
    for line in why(reply):
        console.print(Text(line), style="dim" if reply.known is not False else "yellow")
    console.print(
        f"chosen by {reply.method} from {count_of(len(reply.answers), 'answer')}; "
        f"agreement {reply.agreement:.0%}"
        f"{f'; {reply.unasked} of {reply.voices} voices not asked' if reply.unasked else ''}",
        style="dim",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("voice", "score", "answer", "said"):
        table.add_column(column)
    told: dict[str, int] = {}
    for place, candidate in enumerate(reply.answers):
        said = normalise(candidate.extracted)
        first = told.setdefault(said, place)
        # Equal answers share one score.
        same = first != place and reply.scores[first] == reply.scores[place]
        row = (
            ("→ " if place == reply.winner else "  ") + candidate.voice.label,
            "same" if same else f"{reply.scores[place]:.3g}",
            candidate.extracted,
            candidate.text.strip(),
        )
        table.add_row(*map(Text, row))
    console.print(table)
    legend = f"voice: an expert, at a temperature where it is sampled; score: {reply.unit}"
    console.print(legend, style="dim", highlight=False)


def why(reply: CollectiveAnswer) -> list[str]:
    """On what the choice rests: the families of the history that are most like the question."""
    if reply.known is None:
        return []
    if not reply.known:
        nearest = f" (the nearest is {_near(reply.nearest[0])})" if reply.nearest else ""
        line = f"nothing like this was asked{nearest}: do not trust the answer"
        if reply.method == UNROUTED:
            line += "; chosen by how sure the voices are"
        return [line]
    if reply.asked is not None:
        own = reply.nearest[0]
        return [f"why: a question of this run, of the family {own.name}, {_passed_by(own)}"]
    told = []
    for family in reply.nearest[:2]:
        told.append(f"{_near(family)}, {_passed_by(family)}")
    return [f"why: nearest families {'; '.join(told)}"]


def _against_reference(asked: AskedBefore) -> Text:
    """Whether an answer is right, by the family that asked."""
    if asked.right:
        if not asked.reference:
            return Text("✓ right, as it was graded before", "green")
        return Text(f"✓ right: the reference is {asked.reference!r}", "green")
    if asked.right is False:
        right = f": the reference is {asked.reference!r}" if asked.reference else ""
        return Text(f"✗ wrong{right}", "red")
    line = "· not graded: nobody gave this answer before"
    if asked.reference:
        line += f"; a right one is {asked.reference!r}"
    return Text(line, "yellow")


def _passed_by(family: NearFamily) -> str:
    best = list(family.rates.items())[:3]
    passed = ", ".join(f"{voice} {rate:.0%}" for voice, rate in best)
    return f"passed by {passed or 'none of these voices'}"


def _near(family: NearFamily) -> str:
    return f"{family.name} (similarity {family.similarity:.2f})"
