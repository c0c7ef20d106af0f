"""`acdc study`: a grid of runs, seeds by variants, measured on the same held-out tasks.

The runs share answers: an expert that two runs have in common answers a family once. Whatever a
kill leaves is gone on with by the same command, since every run and every evaluation is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.progress import Progress, ProgressEvent
from console.commands.evaluate import evaluate
from console.commands.frame import AsJson, Debug, app, errors, finish, out, print_json, run_async
from console.commands.measured import caution, rows_of
from console.display import Display
from console.run.folder import RunFolder
from memory.files import replace_file

if TYPE_CHECKING:
    from agents.evaluation.rows import Column, RowKey, RunRows
    from agents.evaluation.tasks import Task
    from console.commands.study_file import StudySettings

Measured: TypeAlias = "Mapping[str, Sequence[RunRows]]"
"""Variant -> its runs, in the order of the seeds."""


EXAMPLES = """Examples:

acdc study study.toml    docs/evaluating.md shows such a file
"""


@app.command(epilog=EXAMPLES)
def study(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A study file (TOML).")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a grid of seeds and variants, and measure what each departure costs."""
    from console.commands.study_file import read_study

    def action() -> None:
        settings = read_study(file)
        with Display(errors if as_json else out) as display:
            found = run_async(conduct(settings, display))
        if as_json:
            print_json(found)
        else:
            show(found, out)

    finish(action, debug)


async def conduct(study: StudySettings, progress: Progress) -> dict[str, Any]:
    """Run whatever of the grid is not done, measure all of it, and report.

    Raises:
        AcdcError: the same command goes on where the study stands.
    """
    from agents.evaluation.run import Plan
    from agents.evaluation.tasks import read_tasks
    from console.commands.study_file import FULL
    from console.run.coevolution import coevolve

    tasks = read_tasks(study.tasks, study.folder / "drawn")
    plan = Plan(tasks, study.n, max_tokens=study.max_tokens)
    measured: dict[str, list[RunRows]] = {variant: [] for variant in study.names}
    cells = [(variant, seed) for seed in study.seeds for variant in study.names]
    for number, (variant, seed) in enumerate(cells, start=1):
        name = f"{variant}-{seed}"
        progress(ProgressEvent("line", f"{name}: run {number} of {len(cells)}"))
        folder = RunFolder(study.folder / name)
        config = folder.begin_as(study.config(variant, seed))
        await coevolve(folder, config, progress, study.folder / "answers")
        measured[variant] += await evaluate([folder], plan, progress, study.folder / "evaluation")
    kept = untaught(measured)
    asked = kept[FULL][0].clusters
    found = report(study, kept, [task for task in tasks if task.id in asked])
    replace_file(study.folder / "study.json", json.dumps(found, indent=2) + "\n")
    return found


def untaught(measured: Measured) -> Measured:
    """All runs without the tasks that a lesson of any of them was about."""
    from agents.evaluation.rows import unlearnt

    runs = iter(unlearnt([run for of in measured.values() for run in of]))
    return {variant: [next(runs) for _ in of] for variant, of in measured.items()}


def report(study: StudySettings, measured: Measured, tasks: Sequence[Task]) -> dict[str, Any]:
    """Rows of each variant, and its differences to the full one."""
    from console.commands.study_file import FULL

    return {
        "study": str(study.folder),
        "seeds": list(study.seeds),
        "tasks": len(tasks),
        "generators": len({task.cluster for task in tasks}),
        "variants": [
            {
                "name": variant,
                "departs": dict(study.departures(variant)),
                "rows": rows_of(runs, _shared(runs)),
                "runs": [
                    {"seed": seed, "run": run.run, "rows": rows_of([run], list(run.rows))}
                    for seed, run in zip(study.seeds, runs, strict=True)
                ],
                "differences": [] if variant == FULL else _differences(runs, measured[FULL]),
            }
            for variant, runs in measured.items()
        ],
    }


def _differences(ours: Sequence[RunRows], full: Sequence[RunRows]) -> list[dict[str, Any]]:
    """Variant minus full, over all seeds and for each of them."""
    from agents.evaluation.rows import between

    columns: list[Column] = [(place, "coverage") for place in _shared([*ours, *full])]
    return [
        {
            "name": found.ours[0],
            "n": found.ours[1],
            "measure": found.measure,
            "value": round(found.interval.mean, 4),
            "ci": [round(found.interval.low, 4), round(found.interval.high, 4)],
            "excludes_zero": found.interval.excludes_zero,
            "by_seed": [round(value, 4) for value in found.by_run],
        }
        for found in between(ours, full, columns)
    ]


def _shared(runs: Sequence[RunRows]) -> list[RowKey]:
    return [place for place in runs[0].rows if all(place in run.rows for run in runs)]


def show(found: dict[str, Any], console: Console) -> None:
    """Print a study for a person."""
    seeds = ", ".join(map(str, found["seeds"]))
    console.print(
        f"{found['tasks']} tasks of {found['generators']} generators, run seeds {seeds}; Coverage, "
        "and the difference to the full run with its 95 % interval over generators"
        f"{' and seeds' if len(found['seeds']) > 1 else ''}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("row", "N", "Coverage", "difference", "95 %"):
        table.add_column(column, justify="right" if column == "N" else "left", no_wrap=True)
    # Of many run seeds it has lines; the numbers before it stay whole in 80 columns.
    table.add_column("by seed")
    for variant in found["variants"]:
        differences = {(d["name"], d["n"]): d for d in variant["differences"]}
        table.add_row(Text(variant["name"], "bold"))
        for row in variant["rows"]:
            difference = differences.get((row["name"], row["n"]))
            table.add_row(
                f"  {row['name']}", str(row["n"]), f"{row['coverage']:.3f}", *_cells(difference)
            )
    console.print(table)
    caution(found["generators"], console)
    console.print(f"kept in {found['study']}", highlight=False)


def _cells(difference: dict[str, Any] | None) -> list[str]:
    if difference is None:
        return ["", "", ""]
    low, high = difference["ci"]
    by_seed = " ".join(f"{value:+.3f}" for value in difference["by_seed"])
    return [f"{difference['value']:+.3f}", f"{low:+.3f} to {high:+.3f}", by_seed]
