"""`acdc run`, and the summary at its end: archive, Coverage, an example, what to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from console import calling
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
from console.run.folder import ALLOW_UNSAFE, RunFolder
from console.run.unborn import undone_if_unborn
from memory.store import RunStore


@app.command()
def run(
    folder: RunDir = Path("runs/quickstart"),
    config: ConfigFile = None,
    set_: Overrides = None,
    allow_unsafe_sandbox: AllowUnsafe = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a coevolution, or go on with one that was interrupted."""
    place = RunFolder(folder)

    def action() -> None:
        unsafe = ALLOW_UNSAFE if allow_unsafe_sandbox else ()
        wanted = place.wanted(config, (*(set_ or ()), *unsafe))
        with undone_if_unborn(place), Display(errors if as_json else out, "starting") as display:
            settings = place.begin_as(wanted)
            # Only now: loading what runs takes seconds, and a bad word should fail before.
            from console.run.coevolution import coevolve

            run_async(coevolve(place, settings, display))
        if as_json:
            from console.commands.status import collect

            print_json(collect(place))
        else:
            show(place, out)

    finish(action, debug)


def show(folder: RunFolder, console: Console) -> None:
    """Print the summary of a finished run."""
    from console.commands import status

    with RunStore.open(folder.path, read_only=True) as store:
        summary: Any = store.meta("summary")
    console.print()
    status.show(status.collect(folder), console)
    if not summary:
        return
    _forces(summary["coverage"], console)
    if not any(row["coverage"] for row in summary["coverage"]["task_force"]):
        console.print(
            "no expert passed anything: were answers cut off (judge.max_tokens), or are the tasks "
            f"too hard? {calling.line('trace', folder.path)} --expert NAME shows what was answered",
            style="yellow",
            markup=False,
        )
    if summary["example"]:
        _example(summary["example"], console)
    _next_steps(folder, console)


def _forces(coverage: dict[str, Any], console: Console) -> None:
    seeds = {row["n"]: row["coverage"] for row in coverage["seed_force"]}
    lines = [
        f"  N = {row['n']}: {row['coverage']:.3f}"
        + (f"   seeds {seeds[row['n']]:.3f}" if row["n"] in seeds else "")
        + f"   {', '.join(row['experts'])}"
        for row in coverage["task_force"]
    ]
    console.print(
        Text(
            "\nCoverage of task forces on the history (all that was accepted)\n" + "\n".join(lines)
        )
    )


def _example(example: dict[str, Any], console: Console) -> None:
    force = ", ".join(example.get("solved_by", [])) or "nobody"
    seeds = ", ".join(example["solved_by_seeds"]) or "none"
    console.print(
        Text(
            f"\nan example of the history, solved by {force}; of the seeds, by {seeds}\n"
            "its first instance and the task force's answers (✓: the expert solves both instances)"
        )
    )
    console.print(Text(f"  {example['question'].strip()}".replace("\n", "\n  "), style="italic"))
    for answer in example["answers"]:
        mark = "✓" if answer["expert"] in example.get("solved_by", ()) else "✗"
        console.print(Text(f"  {mark} {answer['expert']}: {answer['extracted']}"))


def _next_steps(folder: RunFolder, console: Console) -> None:
    steps = {
        f'{calling.line("ask", folder.path)} "What is 7 times 8?"': "ask the collective",
        f"{calling.line('trace', folder.path)} --rejected": "read why tasks were rejected",
        f"{calling.line('status', folder.path)} --json": "the same for programs",
    }
    width = max(map(len, steps))
    lines = (f"  {typed:{width}}   {what}" for typed, what in steps.items())
    console.print(Text("\nnext:\n" + "\n".join(lines)), soft_wrap=True)
