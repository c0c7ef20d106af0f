"""What was answered in an evaluation, as logs: one for each row of each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agents.evaluation.rows import Row, RunRows, headline, unlearnt
from agents.evaluation.tasks import Task
from console.inspect_logs.log import PASSED, Log, Sample, extraction, run_id_of
from memory.store import RunStore


def evaluation_logs(
    runs: Sequence[RunRows], tasks: Sequence[Task], max_tokens: int | None
) -> Iterator[Log]:
    """What was answered in an evaluation: a log for each row of each run.

    As in the report, generators that guessing passes stand apart, and tasks that a lesson was about
    are left out.

    Args:
        runs: what was measured.
        tasks: on what.
        max_tokens: of one answer, None for each run's own limit.
    """
    runs = unlearnt(runs)
    counted = headline(runs)
    guessed = [run.of_tasks(run.guessed) for run in runs]
    parts = {"evaluate": counted}
    if counted[0].clusters.keys() != guessed[0].clusters.keys() and guessed[0].clusters:
        parts["evaluate_guessed"] = guessed
    by_id = {task.id: task for task in tasks}
    for part, measured in parts.items():
        for run in measured:
            with RunStore.open(Path(run.run), read_only=True) as store:
                run_id = run_id_of(store, Path(run.run))
            for row in run.rows.values():
                yield Log(
                    task=part,
                    run=Path(run.run).resolve().name,
                    run_id=run_id,
                    who=f"{row.name}-{row.n}",
                    samples=list(_answered(run, row, by_id)),
                    reducer="at_least_1",
                    cluster="generator",
                    scores=(PASSED, *row.chosen),
                    sampling={"temperature": None, "max_tokens": max_tokens},
                    metadata={
                        "experts": list(row.experts),
                        "temperatures": list(row.temperatures),
                        "sampling": row.sampling,
                    },
                )


def _answered(run: RunRows, row: Row, tasks: Mapping[str, Task]) -> Iterator[Sample]:
    for place, (expert, sheet) in enumerate(zip(row.experts, row.sheets, strict=True)):
        for name, cluster in run.clusters.items():
            answer, passed = sheet[name].answer, sheet[name].passed
            if answer is None:
                continue
            verdicts = {} if passed is None else {PASSED: passed}
            yield Sample(
                id=name,
                question=tasks[name].instructions,
                reference=tasks[name].answer,
                answer=answer,
                verdicts=verdicts | {method: of[name] for method, of in row.chosen.items()},
                notes=extraction(answer, tasks[name].answer),
                metadata={
                    "expert": expert,
                    "temperature": row.temperatures[place],
                    "genome": answer.genome_id,
                    "generator": cluster,
                    "distance": run.distances.get(name),
                },
            )
