"""`acdc compare`: two runs, or two experts, on the same items; what differs comes first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agents.progress import Progress
from console import calling
from console.commands.evaluate import book_of, drawn_folder
from console.commands.frame import (
    AllowUnsafe,
    AsJson,
    Debug,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
    run_async,
)
from console.commands.measured import FEW_GENERATORS
from console.display import Display
from console.errors import UsageError
from console.run.folder import RunFolder
from memory.messages import count_of
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.evaluation.comparison import Answered, Comparison, Pair, Question
    from agents.evaluation.tasks import Task

SHOWN = 10
WIDEST = 300
"""Characters of a question that are printed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        word: as it was given.
        folder: of the run.
        expert: its id; None for the task force.
    """

    word: str
    folder: RunFolder
    expert: str | None


EXAMPLES = """Examples:

acdc compare runs/a runs/b tasks.jsonl    two task forces on held-out tasks

acdc compare runs/a:g2-1 runs/a:g3-0    two experts on what the run has asked both
"""


@app.command("compare", epilog=EXAMPLES)
def compare_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A run folder, or RUN:EXPERT.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TASKS...",
            help="Files of tasks that both answer; without any, what both histories have graded.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Experts in the task force of a run.")] = 3,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum tokens per answer (default: judge.max_tokens of A)."),
    ] = None,
    show_: Annotated[
        int, typer.Option("--show", min=0, help="How many items that differ are printed.")
    ] = SHOWN,
    allow_unsafe_sandbox: AllowUnsafe = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two runs, or two experts, on the same items: where do they differ?"""

    def action() -> None:
        from agents.evaluation.tasks import read_tasks

        sides = (side_named(first), side_named(second))
        if files:
            tasks = read_tasks(files, drawn_folder())
            with Display(errors if as_json else out) as display:
                work = on_tasks(sides, tasks, n, max_tokens, display, unsafe=allow_unsafe_sandbox)
                found = run_async(work)
        else:
            found = on_history(sides, n)
        if as_json:
            print_json(found)
        else:
            show(found, out, show_)

    finish(action, debug)


def side_named(word: str) -> Side:
    """The run, or the expert of a run, that a word names.

    Raises:
        UsageError: it names neither.
        StoreError: the run has no such expert; names the one most like it.
    """
    if os.path.isdir(word):
        return Side(word, opened(Path(word)), None)
    run, _, expert = word.rpartition(":")
    if not run or not expert:
        raise UsageError(
            f"{word} is no run folder; name two of them, or experts as RUN:EXPERT: "
            f"{calling.command()} compare runs/a:g2-1 runs/b:g3-0"
        )
    folder = opened(Path(run))
    with RunStore.open(folder.path, read_only=True) as store:
        return Side(word, folder, store.expert(expert).id)


def on_history(sides: tuple[Side, Side], n: int) -> dict[str, Any]:
    """Compare on what both histories have asked and graded.

    Raises:
        AnsweringError: they have nothing in common.
    """
    from agents.evaluation.comparison import compared, members_of, stored

    found, members = [], []
    for side in sides:
        with RunStore.open(side.folder.path, read_only=True) as store:
            members.append(members_of(store, side.expert, n))
            found.append(stored(store, members[-1]))
    return as_object("history", sides, members, compared(*found))


async def on_tasks(
    sides: tuple[Side, Side],
    tasks: Sequence[Task],
    n: int,
    max_tokens: int | None,
    progress: Progress,
    *,
    unsafe: bool = False,
) -> dict[str, Any]:
    """Compare on held-out tasks; answers are kept where `acdc evaluate` keeps them.

    Raises:
        AcdcError: the experts cannot answer.
    """
    from agents.evaluation.comparison import answered, compared, members_of
    from console.run.reading import open_reading, open_scoring

    found: list[dict[str, tuple[Question, Answered]]] = []
    members: list[list[str]] = []
    longest = max_tokens or sides[0].folder.config(unsafe=unsafe).judge.max_tokens
    for side in sides:
        async with AsyncExitStack() as stack:
            book = stack.enter_context(RunStore.open(book_of(side.folder)))
            config = side.folder.config(unsafe=unsafe)
            context = await stack.enter_async_context(
                open_reading(side.folder, config, progress, book)
            )
            members.append(members_of(context.store, side.expert, n))
            sandbox = await stack.enter_async_context(open_scoring(context))
            found.append(await answered(context, book, sandbox, members[-1], tasks, longest))
    return as_object("tasks", sides, members, compared(*found))


def as_object(
    source: str,
    sides: tuple[Side, Side],
    members: Sequence[Sequence[str]],
    found: Comparison,
) -> dict[str, Any]:
    """The JSON that programs rely on; items that differ come first."""
    pairs, interval = found.pairs, found.interval
    solved = [
        sum(bool(pair.first.solved) for pair in pairs),
        sum(bool(pair.second.solved) for pair in pairs),
    ]
    return {
        "source": source,
        "sides": [
            {
                "name": side.word,
                "n": len(experts),
                "experts": list(experts),
                "coverage": round(count / len(pairs), 4),
            }
            for side, experts, count in zip(sides, members, solved, strict=True)
        ],
        "items": len(pairs),
        "generators": len({pair.question.generator for pair in pairs}),
        "ungraded": found.ungraded,
        "not_asked": found.not_asked,
        "difference": round(interval.mean, 4),
        "ci": [round(interval.low, 4), round(interval.high, 4)],
        "excludes_zero": interval.excludes_zero,
        "only_first": sum(pair.gain > 0 for pair in pairs),
        "only_second": sum(pair.gain < 0 for pair in pairs),
        "pairs": [_pair(pair) for pair in pairs],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    question = pair.question
    return {
        "id": question.id,
        "generator": question.generator,
        "question": question.text,
        "reference": question.reference,
        "differs": bool(pair.gain),
        "answers": [_side(pair.first), _side(pair.second)],
    }


def _side(answered: Answered) -> dict[str, Any]:
    said = [
        {"expert": expert, "answer": answer, "passed": passed}
        for expert, answer, passed in answered.answers
    ]
    return {"solved": answered.solved, "said": said}


def show(found: dict[str, Any], console: Console, most: int = SHOWN) -> None:
    """Print a comparison for a person."""
    from agents.evaluation.intervals import Interval

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False)

    low, high = found["ci"]
    doubt = Interval(found["difference"], low, high).doubt
    # What is drawn for the interval: of a history families, since a program asks as one.
    history = found["source"] == "history"
    where, unit = ("both histories", "family") if history else ("the files of tasks", "generator")
    of = count_of(found["generators"], unit)
    say(f"{count_of(found['items'], 'item')} of {of}, in {where}")
    for letter, side in zip("AB", found["sides"], strict=True):
        of = f"N = {side['n']} ({', '.join(side['experts'])})"
        say(f"{letter}  {side['name']}: Coverage {side['coverage']:.3f}, {of}")
    say(f"A - B: {found['difference']:+.3f} [{low:+.3f}, {high:+.3f}]{doubt}")
    say(f"only A solves {found['only_first']}, only B {found['only_second']}")
    if found["generators"] < FEW_GENERATORS:
        few = count_of(FEW_GENERATORS, unit)
        say(f"fewer than {few}: the interval is too narrow", "yellow")
    if found["not_asked"]:
        say(f"{count_of(found['not_asked'], 'other item')} not asked of both sides", "dim")
    if found["ungraded"]:
        say(f"{count_of(found['ungraded'], 'item')} left out: a grade is missing", "yellow")
    differing = [pair for pair in found["pairs"] if pair["differs"]]
    for pair in differing[:most]:
        say(f"\n{pair['id']}", "bold")
        say(_short(pair["question"]))
        say(f"reference: {_short(pair['reference'])}")
        for letter, side in zip("AB", pair["answers"], strict=True):
            for said in side["said"]:
                right = {True: "right", False: "wrong"}.get(said["passed"], "ungraded")
                say(f"{letter} {right}  {said['expert']}: {_short(said['answer'])}")
    if len(differing) > most:
        more = count_of(len(differing) - most, "more differing item")
        say(f"\n{more}: --show {len(differing)}, or --json")


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST]} ..."
