"""`acdc evaluate`: Coverage and best-of-N on held-out tasks, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from agents.chat.endpoints import EndpointSettings
from agents.progress import Progress, ProgressEvent
from console import calling
from console.commands.frame import (
    AllowUnsafe,
    AsJson,
    Debug,
    UntilAgree,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
    run_async,
)
from console.commands.measured import report, show
from console.display import Display
from console.errors import UsageError
from console.run.config import cache_folder
from console.run.folder import RunFolder
from evolution.selection.coverage import task_force
from memory.hashing import text_hash
from memory.messages import first_problem
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.evaluation.rows import RunRows
    from agents.evaluation.run import Plan
    from agents.evaluation.sample_logs import Log


EXAMPLES = """Examples:

acdc evaluate runs/quickstart tasks.jsonl    at N = 1, 3 and 8

acdc evaluate runs/a runs/b tasks.jsonl --baselines    two runs beside the seeds resampled
"""


@app.command("evaluate", epilog=EXAMPLES)
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
        bool,
        typer.Option(
            "--baselines",
            help="Baselines of as many answers too: seeds resampled, one merge, one lesson, "
            "random genomes.",
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BASELINE",
            help="A costly baseline that is not measured: merge_once, tutor_once, "
            "merge_tutor_once or random_genomes; may be given several times.",
        ),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option("--greedy", help="Measure N different experts, each greedily, as well."),
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="A method of best-of-N that asks another model, beside those that ask none: "
            "chooser and knockout (an LLM compares), rating (an LLM gives marks), reward (a "
            "reward model); may be given several times.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Maximum tokens per answer (default: the run's judge.max_tokens)."
        ),
    ] = None,
    big_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A larger model to compare with, at an endpoint."),
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
    inspect: Annotated[
        Path | None,
        typer.Option(
            "--inspect", metavar="FOLDER", help="Write the answers as Inspect logs as well."
        ),
    ] = None,
    until_agree: UntilAgree = None,
    allow_unsafe_sandbox: AllowUnsafe = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a run on held-out tasks, or sample logs of lm-evaluation-harness.

    N answers are given to each task: by the task force (the N voices, experts
    at a temperature, that together solve most of what the run asked), by the
    best expert and by the best seed. Coverage is the share of the tasks to
    which at least one of the N is right; best-of-N chooses one of them.
    """
    from agents.evaluation.run import Plan
    from console.inspect_logs.measured import evaluation_logs
    from console.inspect_logs.writing import require_inspect, write_logs, written_line

    def action() -> None:
        for place in places:
            if not place.exists():
                raise UsageError(f"{place} is neither a run folder nor a file of tasks")
            if place.is_dir():
                opened(place)
        from agents.evaluation.sample_logs import is_log, read_logs
        from agents.evaluation.tasks import read_tasks

        if without and not baselines:
            raise UsageError("--without goes with --baselines, of which it leaves some out")
        folders, files = sort_places(places)
        sizes = n or [1, 3, 8]
        if inspect is not None:
            require_inspect()
        with Display(errors if as_json else out) as display:
            if all(map(is_log, files)):
                if inspect is not None:
                    raise UsageError(
                        "--inspect goes with tasks: sample logs were answered elsewhere"
                    )
                if until_agree is not None:
                    raise UsageError(
                        "--until-agree needs a file of tasks: sample logs have no votes"
                    )
                logs = read_logs(files, metric, filter_)
                found = run_async(evaluate_logs(folders, logs, sizes))
            else:
                require_runs(folders)
                big = big_model_at(big_model_url, big_model, big_model_key_env)
                tasks = read_tasks(files, drawn_folder())
                plan = Plan(
                    tasks,
                    sizes,
                    baselines,
                    select or (),
                    max_tokens,
                    big,
                    alone,
                    until_agree,
                    without or (),
                )
                runs = run_async(evaluate(folders, plan, display, unsafe=allow_unsafe_sandbox))
                found = report(runs, max_tokens, tasks)
                if inspect is not None:
                    kept = write_logs(evaluation_logs(runs, tasks, max_tokens), inspect)
                    display(ProgressEvent("line", written_line(kept, inspect)))
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
