"""`acdc run`, and the summary at its end: archive, Coverage, an example, what to type next."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from agents.config import RunConfig
from console import calling
from console.commands.forecast import hours_here, in_words
from console.commands.frame import (
    AllowUnsafe,
    AsJson,
    ConfigFile,
    Debug,
    Overrides,
    RunDir,
    app,
    errors,
    finish,
    out,
    print_json,
    run_async,
)
from console.display import Display
from console.run.config import cache_folder
from console.run.folder import ALLOW_UNSAFE, RunFolder
from console.run.spending import used
from console.run.unborn import undone_if_unborn
from memory.records import Voice
from memory.store import RunStore

Track = Annotated[
    list[str] | None,
    typer.Option(help="Draw curves in tensorboard, mlflow or wandb; may be given again."),
]

EXAMPLES = """Examples:

acdc run    the quickstart, in runs/quickstart

acdc run runs/mine --config mine.toml --set generations=20    or go on with it
"""


@app.command(epilog=EXAMPLES)
def run(
    folder: RunDir = Path("runs/quickstart"),
    config: ConfigFile = None,
    set_: Overrides = None,
    allow_unsafe_sandbox: AllowUnsafe = False,
    track: Track = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing while it runs, only how it ended.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a coevolution, or go on with one that was interrupted."""
    place = RunFolder(folder)

    def action() -> None:
        unsafe = ALLOW_UNSAFE if allow_unsafe_sandbox else ()
        wanted = place.wanted(config, (*(set_ or ()), *unsafe))
        live = Display(
            errors if as_json else out,
            "starting",
            title=str(folder),
            costs=partial(used, place),
            quiet=quiet,
        )
        new = not place.database.is_file()
        with undone_if_unborn(place), live as display:
            settings = place.begin_as(wanted)
            if new:
                _expect(settings, display)
            # Only now: loading what runs takes seconds, and a bad word should fail before.
            from console.run.coevolution import coevolve
            from console.run.tracking import tracked

            with tracked(display, track or (), place, settings) as progress:
                run_async(coevolve(place, settings, progress))
        if as_json:
            from console.commands.status import collect

            print_json(collect(place))
        else:
            show(place, out)

    finish(action, debug)


def _expect(config: RunConfig, display: Display) -> None:
    """Say how long a run will take here, where one machine computes it."""
    if config.cluster.kind != "none":
        return
    hours = hours_here(config, cache_folder())
    if hours is not None:
        live = config.endpoints.is_live("scientist")
        more = "; the scientists' endpoint comes on top" if live else ""
        line = f"{config.generations} generations, in all about {in_words(hours)} on this machine"
        display.expect(3600 * hours, f"{line} (an estimate from the settings{more})")


def show(folder: RunFolder, console: Console) -> None:
    """Print the summary of a finished run."""
    from console.commands.status import collect
    from console.commands.status_shown import show as show_status

    with RunStore.open(folder.path, read_only=True) as store:
        summary: Any = store.meta("summary")
    found = collect(folder)
    console.print()
    show_status(found, console)
    if not summary:
        return
    if not any(row["coverage"] for row in summary["coverage"]["task_force"]):
        console.print(
            "no expert passed anything: were answers cut off (judge.max_tokens), or are the tasks "
            f"too hard? {calling.line('trace', folder.path)} --expert NAME shows what was answered",
            style="yellow",
            markup=False,
        )
    if summary["example"]:
        _example(summary["example"], "instances" in summary, console)
    _next_steps(folder, console)


def _example(example: dict[str, Any], finals: bool, console: Console) -> None:
    force = ", ".join(example.get("solved_by", [])) or "nobody"
    seeds = ", ".join(example["solved_by_seeds"]) or "none"
    told = (
        "an instance of the finals and the task force's answers"
        if finals
        else "its first instance and the task force's answers (✓: the expert solves both instances)"
    )
    said = f"\nan example, solved by {force}; of the seeds, by {seeds}\n{told}"
    console.print(Text(said))
    console.print(Text(f"  {example['question'].strip()}".replace("\n", "\n  "), style="italic"))
    for answer in example["answers"]:
        solved = answer.get("passed", answer["expert"] in example.get("solved_by", ()))
        voice = Voice(answer["expert"], answer.get("temperature", 0.0))
        console.print(Text(f"  {'✓' if solved else '✗'} {voice.label}: {answer['extracted']}"))


def _next_steps(folder: RunFolder, console: Console) -> None:
    steps = {
        calling.line("view", folder.path): "all of it in a browser",
        calling.line("ask", folder.path): "a question of the run, answered by its force",
        calling.line("report", folder.path): "one page to mail",
        f"{calling.line('trace', folder.path)} --families": "who solves what",
        f"{calling.line('trace', folder.path)} --rejected": "read why tasks were rejected",
        f"{calling.line('status', folder.path)} --json": "the same for programs",
    }
    width = max(map(len, steps))
    beside = width + 5 + max(map(len, steps.values())) <= console.width
    lines = (
        f"  {typed:{width}}   {what}" if beside else f"  {what}:\n    {typed}"
        for typed, what in steps.items()
    )
    # Not wrapped: what is typed can be copied.
    console.print(Text("\nnext:\n" + "\n".join(lines)), soft_wrap=True)
