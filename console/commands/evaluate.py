"""`acdc evaluate`: Coverage and best-of-N on held-out tasks, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from agents.chat.endpoints import EndpointSettings
from agents.evaluation.intervals import Interval
from agents.progress import Progress, ProgressEvent
from console import calling
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
from console.display import Display
from console.errors import UsageError
from console.run.config import cache_folder
from console.run.folder import RunFolder
from evolution.selection.coverage import task_force
from memory.hashing import text_hash
from memory.messages import first_problem
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.evaluation.rows import Column, Difference, Row, RowKey, RunRows
    from agents.evaluation.run import Plan
    from agents.evaluation.sample_logs import Log

FEW_GENERATORS = 10
"""Below this a bootstrap over generators is known to give intervals that are too narrow."""
BASELINES = ("control", "experts", "merge_once", "random_genomes")


@app.command("evaluate")
def evaluate_command(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="DIR... TASKS...", help="Run folders, and files of tasks."),
    ],
    n: Annotated[
        list[int] | None,
        typer.Option("-n", min=1, help="Answers per task (N); may be given several times."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the baselines of equal budget too.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="A method of best-of-N that needs a judge; may be given several times.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Maximum tokens per answer (default: the run's judge.max_tokens)."
        ),
    ] = None,
    big_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model to compare with, at an endpoint.")
    ] = None,
    big_model_url: Annotated[str | None, typer.Option(help="Base URL of that endpoint.")] = None,
    big_model_key_env: Annotated[
        str, typer.Option(help="Variable that holds the key of that endpoint.")
    ] = "",
    metric: Annotated[
        str | None, typer.Option(help="Metric in the sample logs; 1 means solved.")
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help="Filter to use where the sample logs contain several."),
    ] = None,
    allow_unsafe_sandbox: AllowUnsafe = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a run on held-out tasks, or sample logs of lm-evaluation-harness."""
    from agents.evaluation.run import Plan

    def action() -> None:
        for place in places:
            if not place.exists():
                raise UsageError(f"{place} is neither a run folder nor a file of tasks")
            if place.is_dir():
                opened(place)
        from agents.evaluation.sample_logs import is_log, read_logs
        from agents.evaluation.tasks import read_tasks

        folders, files = sort_places(places)
        sizes = n or [1, 3, 8]
        with Display(errors if as_json else out) as display:
            if all(map(is_log, files)):
                logs = read_logs(files, metric, filter_)
                found = run_async(evaluate_logs(folders, logs, sizes))
            else:
                require_runs(folders)
                big = big_model_at(big_model_url, big_model, big_model_key_env)
                tasks = read_tasks(files, drawn_folder())
                plan = Plan(tasks, sizes, baselines, select or (), max_tokens, big)
                runs = run_async(evaluate(folders, plan, display, unsafe=allow_unsafe_sandbox))
                found = report(runs, max_tokens)
        if as_json:
            print_json(found)
        else:
            show(found, out)

    finish(action, debug)


def sort_places(places: Sequence[Path]) -> tuple[list[RunFolder], list[Path]]:
    """Run folders and files among the words of the command.

    Raises:
        UsageError: there is no file.
    """
    folders = [RunFolder(place) for place in places if place.is_dir()]
    files = [place for place in places if place.is_file()]
    if not files:
        raise UsageError(f"name a file of tasks: {calling.command()} evaluate DIR TASKS.jsonl")
    return folders, files


def big_model_at(url: str | None, model: str | None, key_env: str) -> EndpointSettings | None:
    """The endpoint to compare with, None if none is named.

    Raises:
        UsageError: it is named by halves, or its URL cannot be called.
    """
    if url is None and model is None:
        return None
    if url is None or model is None:
        raise UsageError("--big-model and --big-model-url must be given together")
    try:
        return EndpointSettings(base_url=url, model=model, api_key_env=key_env)
    except ValidationError as error:
        raise UsageError(f"--big-model-url: {first_problem(error)}") from None


def require_runs(folders: Sequence[RunFolder]) -> None:
    """Tasks are answered by the experts of a run, so there must be one.

    Raises:
        UsageError: there is none, or a folder is none.
    """
    if not folders:
        raise UsageError(
            f"name a run folder before the file: {calling.command()} evaluate DIR TASKS.jsonl"
        )
    for folder in folders:
        folder.manifest()


async def evaluate_logs(
    folders: Sequence[RunFolder], logs: Mapping[str, Log], sizes: Sequence[int]
) -> dict[str, Any]:
    """Coverage of models that answered elsewhere, in the order in which their logs were given.

    With a run folder, the models are experts of that run, and their order is that of the greedy
    force among them on its history.

    Raises:
        UsageError: several run folders, or logs of none of its experts.
    """
    from agents.evaluation.elsewhere import measure_logs

    if len(folders) > 1:
        raise UsageError("sample logs go with one run folder at most")
    order = list(logs)
    for folder in folders:
        with RunStore.open(folder.path, read_only=True) as store:
            skills = {name: vector for name, vector in store.all_skills().items() if name in logs}
            if not skills:
                raise UsageError(
                    f"none of the log folders ({', '.join(logs)}) has the name of an expert of "
                    f"{folder.path}"
                )
            families = [family.id for family in store.families()]
            order = list(task_force(skills, families, len(skills)).experts)
    run = await measure_logs(logs, order, sizes, "force" if folders else "logs")
    return report([run], None)


async def evaluate(
    folders: Sequence[RunFolder],
    plan: Plan,
    progress: Progress,
    book: Path | None = None,
    *,
    unsafe: bool = False,
) -> list[RunRows]:
    """Measure several runs, one after the other.

    Args:
        folders: of the runs.
        plan: what to measure.
        progress: where events are reported.
        book: folder in which answers are kept; one for each run in the cache if None.
        unsafe: whether code that an LLM wrote may run without isolation.

    Raises:
        SandboxUnavailable: code has to be run, and isolation does not work here.
        RunLockedError: another process measures the same run.
    """
    from agents.evaluation.run import evaluate_run
    from console.run.reading import open_reading, open_scoring

    runs = []
    for folder in folders:
        async with AsyncExitStack() as stack:
            place = book or book_of(folder)
            answers = stack.enter_context(RunStore.open(place))
            context = await stack.enter_async_context(
                open_reading(folder, folder.config(unsafe=unsafe), progress, answers)
            )
            if not context.store.meta("finished"):
                progress(
                    ProgressEvent("line", f"{folder.path} is unfinished: measured as it is now")
                )
            sandbox = await stack.enter_async_context(open_scoring(context))
            runs.append(await evaluate_run(context, answers, sandbox, plan))
    return runs


def book_of(folder: RunFolder) -> Path:
    """Where the answers of a run to held-out tasks are kept: apart from it, in the cache."""
    with RunStore.open(folder.path, read_only=True) as store:
        name = store.meta("run_id") or text_hash(str(folder.path.resolve()))
    return cache_folder() / "evaluation" / str(name)


def drawn_folder() -> Path:
    """Where tasks are kept that no two processes would draw alike."""
    return cache_folder() / "drawn"


def report(runs: Sequence[RunRows], max_tokens: int | None) -> dict[str, Any]:
    """The JSON that programs rely on: rows over all runs, each run by itself, and differences."""
    shared = [place for place in runs[0].rows if all(place in run.rows for run in runs)]
    return {
        "tasks": len(runs[0].clusters),
        "generators": len(set(runs[0].clusters.values())),
        "max_tokens": max_tokens,
        "rows": rows_of(runs, shared),
        "differences": [_difference(found) for found in compare(runs, shared)],
        "runs": [
            {
                "run": run.run,
                "seed": run.seed,
                "rows": rows_of([run], list(run.rows)),
                "left_out": dict(run.left_out),
            }
            for run in runs
        ],
    }


def rows_of(runs: Sequence[RunRows], places: Sequence[RowKey]) -> list[dict[str, Any]]:
    """Rows with their intervals; over several runs, tokens and seconds are means of a run."""
    from agents.evaluation.rows import intervals

    columns: list[Column] = []
    for place in places:
        columns += [(place, "coverage"), *((place, name) for name in _methods(runs, place))]
    found = intervals(runs, columns)
    return [_row(runs, place, found) for place in places]


def _row(runs: Sequence[RunRows], place: RowKey, found: dict[Column, Interval]) -> dict[str, Any]:
    rows: list[Row] = [run.rows[place] for run in runs]
    coverage = found[place, "coverage"]
    return {
        "name": place[0],
        "n": place[1],
        "coverage": round(coverage.mean, 4),
        "coverage_ci": _ends(coverage),
        "best_of_n": {
            name: {
                "accuracy": round(found[place, name].mean, 4),
                "ci": _ends(found[place, name]),
            }
            for name in _methods(runs, place)
        },
        "tokens": sum(row.tokens for row in rows) // len(rows),
        "tokens_in": sum(row.tokens_in for row in rows) // len(rows),
        "seconds": round(sum(row.seconds for row in rows) / len(rows), 2),
        "sampling": rows[0].sampling,
        "ungraded": sum(row.ungraded for row in rows),
        "experts": list(rows[0].experts) if len(rows) == 1 else None,
    }


def compare(runs: Sequence[RunRows], places: Sequence[RowKey]) -> list[Difference]:
    """The comparisons that matter, all at equal N but for best-of-N against the best expert."""
    from agents.evaluation.rows import differences

    pairs: list[tuple[Column, Column]] = []
    best, seed = ("best_expert", 1), ("best_seed", 1)
    for single in (seed, ("merge_once", 1)):
        if best in places and single in places:
            pairs.append(((best, "coverage"), (single, "coverage")))
    big = ("big_model", 1)
    for force in (place for place in places if place[0] == "force"):
        others = [(name, force[1]) for name in BASELINES if (name, force[1]) in places]
        others += [big] if big in places else []
        pairs += [((force, "coverage"), (other, "coverage")) for other in others]
        for method in _methods(runs, force):
            if best in places:
                pairs.append(((force, method), (best, "coverage")))
            pairs += [
                ((force, method), (other, method))
                for other in others
                if method in _methods(runs, other)
            ]
    return differences(runs, pairs)


def _methods(runs: Sequence[RunRows], place: RowKey) -> list[str]:
    """Methods by which a row was chosen from in every run."""
    first, *others = (run.rows[place].chosen for run in runs)
    return [name for name in first if all(name in other for other in others)]


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "ours": found.ours[0],
        "theirs": found.theirs[0],
        "n": found.ours[1],
        "their_n": found.theirs[1],
        "measure": found.measure,
        "value": round(found.interval.mean, 4),
        "ci": _ends(found.interval),
        "excludes_zero": found.interval.excludes_zero,
        "by_run": [round(value, 4) for value in found.by_run],
    }


def _ends(interval: Interval) -> list[float]:
    return [round(interval.low, 4), round(interval.high, 4)]


def caution(generators: int, console: Console) -> None:
    """Say so where intervals claim more than their generators can bear."""
    if generators < FEW_GENERATORS:
        counted = f"{generators} generator{'s' if generators > 1 else ''}"
        console.print(
            f"Only {counted}: bootstrap intervals over fewer than {FEW_GENERATORS} are too narrow.",
            style="yellow",
            highlight=False,
        )


def show(found: dict[str, Any], console: Console) -> None:
    """Print an evaluation for a person."""
    several = len(found["runs"]) > 1
    console.print(
        f"{found['tasks']} tasks of {found['generators']} generators, "
        f"{len(found['runs'])} run{'s' if several else ''}; 95 % intervals over "
        f"generators{' and runs' if several else ''}",
        highlight=False,
    )
    for run in found["runs"] if several else []:
        console.print(f"\n{run['run']} (seed {run['seed']})", markup=False, highlight=False)
        console.print(_table(run["rows"]))
    if several:
        console.print("\nall runs")
    console.print(_table(found["rows"]))
    for difference in found["differences"]:
        if difference["measure"] == "coverage":
            console.print(_sentence(difference), markup=False, highlight=False)
    for sampling, rows in _by_sampling(found["rows"]).items():
        console.print(f"{', '.join(rows)}: {sampling}", style="dim", markup=False, highlight=False)
    for run in found["runs"]:
        for name, reason in run["left_out"].items():
            said = f"{run['run']} has no row {name}: {reason}"
            console.print(said, style="yellow", markup=False, highlight=False)
    caution(found["generators"], console)
    ungraded = sum(row["ungraded"] for row in found["rows"])
    if ungraded:
        console.print(f"{ungraded} answers could not be graded and count as not solved")


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """In 80 columns; how tokens were drawn is printed below it, once for all rows."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("row", "N", "Coverage", "95 %", "best of N, by", "tokens", "s"):
        right = column in ("N", "tokens", "s")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        chosen = [f"{name} {of['accuracy']:.3f}" for name, of in row["best_of_n"].items()]
        table.add_row(
            row["name"],
            str(row["n"]),
            f"{row['coverage']:.3f}",
            f"{row['coverage_ci'][0]:.3f}-{row['coverage_ci'][1]:.3f}",
            "\n".join(chosen),
            _count(row["tokens"]),
            f"{row['seconds']:.0f}",
        )
    return table


def _by_sampling(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Names of the rows whose tokens were drawn alike."""
    found: dict[str, list[str]] = {}
    for row in rows:
        names = found.setdefault(row["sampling"], [])
        if row["name"] not in names:
            names.append(row["name"])
    return found


def _count(tokens: int) -> str:
    """A number in six characters at most."""
    if tokens < 100_000:
        return str(tokens)
    return f"{tokens / 1e3:.0f}k" if tokens < 10_000_000 else f"{tokens / 1e6:.0f}M"


def _sentence(difference: dict[str, Any]) -> str:
    low, high = difference["ci"]
    verdict = "" if difference["excludes_zero"] else " (may be chance)"
    against = (
        f" against {difference['their_n']}" if difference["their_n"] != difference["n"] else ""
    )
    by_run = difference["by_run"]
    each = "; by run " + " ".join(f"{value:+.3f}" for value in by_run) if len(by_run) > 1 else ""
    return (
        f"{difference['ours']} - {difference['theirs']} at N = {difference['n']}{against}: "
        f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]{verdict}{each}"
    )
