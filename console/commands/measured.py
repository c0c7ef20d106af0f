"""What an evaluation found: as JSON for programs, and as tables for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from agents.evaluation.intervals import Interval
from console.commands.measured_tasks import items_of, show_items
from memory.messages import count_of

if TYPE_CHECKING:
    from agents.evaluation.rows import Column, Difference, Row, RowKey, RunRows
    from agents.evaluation.tasks import Task

FEW_GENERATORS = 10
"""Below this a bootstrap over generators is known to give intervals that are too narrow."""
BASELINES = (
    "greedy_force",
    "control",
    "experts",
    "merge_once",
    "tutor_once",
    "merge_tutor_once",
    "random_genomes",
)
_LESS_CHANCE = (
    "less chance: (Coverage - c) / (1 - c) of each generator, where c is the share of its tasks "
    "that the best constant answer passes; 0 is guessing, 1 is all"
)
MEASURED = (
    "name",
    "n",
    "coverage",
    "coverage_ci",
    "corrected",
    "corrected_ci",
    "best_of_n",
)


def report(
    runs: Sequence[RunRows], max_tokens: int | None, tasks: Sequence[Task] = ()
) -> dict[str, Any]:
    """The JSON that programs rely on: rows over all runs, each run by itself, and differences.

    Generators whose constant answer passes most of their tasks stand apart, under `guessed`; tasks
    that a run was taught are left out.

    Args:
        runs: what was measured.
        max_tokens: of one answer, None for each run's own limit.
        tasks: on what; none where they were answered elsewhere.

    Raises:
        AnsweringError: no other tasks are there.
    """
    from agents.evaluation.rows import by_distance, headline, unlearnt

    learnt = sorted({task for run in runs for task in run.learnt})
    runs = unlearnt(runs)
    shared = [place for place in runs[0].rows if all(place in run.rows for run in runs)]
    told, by_id = headline(runs), {task.id: task for task in tasks}
    return {
        **_counts(told),
        "max_tokens": max_tokens,
        "rows": rows_of(told, shared),
        "differences": [_difference(found) for found in compare(told, shared)],
        "runs": [
            {
                "run": run.run,
                "seed": run.seed,
                "rows": rows_of([run], list(run.rows)),
                "left_out": dict(run.left_out),
                "items": items_of(whole, by_id),
            }
            for run, whole in zip(told, runs, strict=True)
        ],
        "guessed": _guessed(runs, shared),
        "learnt": list[Any](learnt),
        "distances": [
            {
                "distance": distance,
                **_counts(apart),
                "rows": [_measured(row) for row in rows_of(apart, shared)],
                "differences": [_difference(found) for found in compare(apart, shared)],
            }
            for distance, apart in by_distance(told).items()
        ],
    }


def _counts(runs: Sequence[RunRows]) -> dict[str, int]:
    clusters = runs[0].clusters.values()
    return {"tasks": len(clusters), "generators": len(set(clusters))}


def _guessed(runs: Sequence[RunRows], places: Sequence[RowKey]) -> dict[str, Any]:
    """Generators whose constant answer passes most tasks, and the rows on them alone."""
    guesses = dict.fromkeys(guess for run in runs for guess in run.guessed.values())
    apart = [run.of_tasks(run.guessed) for run in runs]
    return {
        "tasks": len(apart[0].clusters),
        "generators": [
            {"generator": g.generator, "answer": g.answer, "chance": round(g.chance, 4)}
            for g in guesses
        ],
        "rows": [_measured(row) for row in rows_of(apart, places)] if guesses else [],
    }


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """The part of a row that is measured on some of its tasks; tokens are spent on all."""
    return {key: row[key] for key in MEASURED}


def rows_of(runs: Sequence[RunRows], places: Sequence[RowKey]) -> list[dict[str, Any]]:
    """Rows with their intervals; over several runs, tokens and seconds are means of a run."""
    from agents.evaluation.rows import intervals

    columns: list[Column] = []
    for place in places:
        columns += [(place, name) for name in (*_measures(runs), *_methods(runs, place))]
    found = intervals(runs, columns)
    return [_row(runs, place, found) for place in places]


def _measures(runs: Sequence[RunRows]) -> tuple[str, ...]:
    """Coverage, and corrected for chance where that is known and leaves something to be solved."""
    known = any(
        task in run.guesses and run.guesses[task].chance < 1
        for run in runs
        for task in run.clusters
    )
    return ("coverage", "corrected") if known else ("coverage",)


def _row(runs: Sequence[RunRows], place: RowKey, found: dict[Column, Interval]) -> dict[str, Any]:
    rows: list[Row] = [run.rows[place] for run in runs]
    coverage, corrected = found[place, "coverage"], found.get((place, "corrected"))
    return {
        "name": place[0],
        "n": place[1],
        "coverage": round(coverage.mean, 4),
        "coverage_ci": _ends(coverage),
        "corrected": None if corrected is None else round(corrected.mean, 4),
        "corrected_ci": None if corrected is None else _ends(corrected),
        "best_of_n": {
            name: {
                "accuracy": round(found[place, name].mean, 4),
                "ci": _ends(found[place, name]),
            }
            for name in _methods(runs, place)
        },
        "tokens": sum(row.tokens for row in rows) // len(rows),
        "tokens_in": sum(row.tokens_in for row in rows) // len(rows),
        **_asked(runs, rows),
        "seconds": round(sum(row.seconds for row in rows) / len(rows), 2),
        "sampling": _sampling(rows),
        "ungraded": sum(row.ungraded for row in rows),
        "experts": list(rows[0].experts) if len(rows) == 1 else None,
        "temperatures": list(rows[0].temperatures) if len(rows) == 1 else None,
    }


def _asked(runs: Sequence[RunRows], rows: Sequence[Row]) -> dict[str, Any]:
    """Answers per task that best-of-N heard until enough agreed; null where it hears all."""
    counts = [
        row.asked[task]
        for run, row in zip(runs, rows, strict=True)
        for task in run.clusters
        if row.asked is not None and task in row.asked
    ]
    return {
        "asked": round(sum(counts) / len(counts), 3) if counts else None,
        "tokens_asked": sum(row.tokens_asked for row in rows) // len(rows) if counts else None,
    }


def compare(runs: Sequence[RunRows], places: Sequence[RowKey]) -> list[Difference]:
    """The comparisons that matter, all at equal N but for best-of-N against the best expert."""
    from agents.evaluation.rows import differences

    pairs: list[tuple[Column, Column]] = []
    measures = _measures(runs)
    best, seed = ("best_expert", 1), ("best_seed", 1)
    for single in (seed, ("merge_once", 1), ("tutor_once", 1), ("merge_tutor_once", 1)):
        if best in places and single in places:
            pairs += [((best, what), (single, what)) for what in measures]
    big = ("big_model", 1)
    for force in (place for place in places if place[0] == "force"):
        others = [(name, force[1]) for name in BASELINES if (name, force[1]) in places]
        others += [big] if big in places else []
        pairs += [((force, what), (other, what)) for other in others for what in measures]
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
        console.print(
            f"Only {count_of(generators, 'generator')}: bootstrap intervals over fewer than "
            f"{FEW_GENERATORS} are too narrow.",
            style="yellow",
            highlight=False,
        )


def show(found: dict[str, Any], console: Console) -> None:
    """Print an evaluation for a person."""
    several = len(found["runs"]) > 1
    console.print(
        f"{_counted(found)}, {count_of(len(found['runs']), 'run')}; 95 % intervals over "
        f"generators{' and runs' if several else ''}",
        highlight=False,
    )
    for run in found["runs"] if several else []:
        console.print(f"\n{run['run']} (seed {run['seed']})", highlight=False)
        console.print(_table(run["rows"]))
    if several:
        console.print("\nall runs")
    console.print(_table(found["rows"]))
    if any(row["corrected"] is not None for row in found["rows"]):
        console.print(_LESS_CHANCE, style="dim", highlight=False)
    for run in found["runs"]:
        if names := _single_experts(run["rows"]):
            at = f"{run['run']}: " if several else ""
            console.print(f"{at}{names}", style="dim", highlight=False)
    _show_asked(found["rows"], console)
    _show_guessed(found, console)
    _show_distances(found["distances"], console)
    for difference in found["differences"]:
        if difference["measure"] == "coverage":
            console.print(_sentence(difference), highlight=False)
    for sampling, rows in _by_sampling(found["rows"]).items():
        console.print(f"{', '.join(rows)}: {sampling}", style="dim", highlight=False)
    for run in found["runs"]:
        for name, reason in run["left_out"].items():
            said = f"{run['run']} has no row {name}: {reason}"
            console.print(said, style="yellow", highlight=False)
    if found["learnt"]:
        named = ", ".join(found["learnt"])
        said = f"left out, since a lesson asked the same: {named}"
        console.print(said, style="yellow", highlight=False)
    for run in found["runs"]:
        if several:
            console.print(f"\n{run['run']}, task by task", highlight=False)
        show_items(run["items"], console)
    caution(found["generators"], console)
    ungraded = sum(row["ungraded"] for row in found["rows"])
    if ungraded:
        said = f"{count_of(ungraded, 'answer')} could not be graded"
        console.print(f"{said}, which counts as not solved")


def _single_experts(rows: Sequence[dict[str, Any]]) -> str:
    """Who the rows of one expert are: `best_expert is g1-4, best_seed is logic`."""
    return ", ".join(
        f"{row['name']} is {row['experts'][0]}"
        for row in rows
        if row["name"] in ("best_expert", "best_seed") and row["experts"]
    )


def _show_asked(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """What an early agreement spares."""
    for row in rows:
        if row["asked"] is not None:
            share = row["tokens_asked"] / max(row["tokens"], 1)
            said = (
                f"{row['name']}: {row['asked']:.2f} of {row['n']} answers asked per task until "
                f"enough agreed, {share:.0%} of the tokens"
            )
            console.print(said, style="dim", highlight=False)


def _show_guessed(found: dict[str, Any], console: Console) -> None:
    """Name the generators that a constant answer passes, and show the rows on them apart."""
    guessed = found["guessed"]
    if not guessed["generators"]:
        return
    named = ", ".join(
        f"{each['generator']} ({each['answer'][:20]!r} passes {each['chance']:.2f})"
        for each in guessed["generators"]
    )
    alone = not found["distances"] and guessed["tasks"] == found["tasks"]
    verdict = "there are no others" if alone else "left out above"
    said = f"\nguessing passes most of {guessed['tasks']} tasks, {verdict}: {named}"
    console.print(said, style="yellow", highlight=False)
    if not alone:
        console.print(_measured_table(guessed["rows"]))


def _show_distances(distances: Sequence[dict[str, Any]], console: Console) -> None:
    """Coverage apart by how far the tasks lie from what the runs have asked."""
    for each in distances:
        title = f"\n{each['distance'].replace('_', ' ')}: {_counted(each)}"
        console.print(title, highlight=False)
        if len(distances) > 1:
            console.print(_measured_table(each["rows"]))


def _measured_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What is measured on some of the tasks."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("row", "N", "Coverage", "95 %", "less chance", "95 %"):
        table.add_column(column, justify="right" if column == "N" else "left", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], str(row["n"]), *_both(row))
    return table


def _both(row: dict[str, Any]) -> list[str]:
    """Coverage and the corrected one, each with its interval."""
    cells = [f"{row['coverage']:.3f}", _range(row["coverage_ci"])]
    if row["corrected"] is None:
        return [*cells, "", ""]
    return [*cells, f"{row['corrected']:.3f}", _range(row["corrected_ci"])]


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f}..{ends[1]:.3f}"


def _counted(found: dict[str, Any]) -> str:
    return f"{count_of(found['tasks'], 'task')} of {count_of(found['generators'], 'generator')}"


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """In 80 columns; how tokens were drawn is printed below it, once for all rows."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("row", "N", "Coverage", "95 %", "best of N, by", "tokens", "s"):
        right = column in ("N", "tokens", "s")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        chosen = [f"{name} {of['accuracy']:.3f}" for name, of in row["best_of_n"].items()]
        plain, ends, corrected, their_ends = _both(row)
        table.add_row(
            f"{row['name']}\n{'  less chance' if corrected else ''}".rstrip(),
            str(row["n"]),
            f"{plain}\n{corrected}".rstrip(),
            f"{ends}\n{their_ends}".rstrip(),
            "\n".join(chosen),
            _count(row["tokens"]),
            f"{row['seconds']:.0f}",
        )
    return table


def _sampling(rows: Sequence[Row]) -> str:
    """How answers were drawn, and by how many runs where it was not by all in the same way."""
    counts = Counter(row.sampling for row in rows)
    if len(counts) == 1:
        return rows[0].sampling
    return "; ".join(f"{sampling} ({count})" for sampling, count in counts.most_common())


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
    doubt = Interval(difference["value"], low, high).doubt
    against = (
        f" against {difference['their_n']}" if difference["their_n"] != difference["n"] else ""
    )
    by_run = difference["by_run"]
    each = "; by run " + " ".join(f"{value:+.3f}" for value in by_run) if len(by_run) > 1 else ""
    return (
        f"{difference['ours']} - {difference['theirs']} at N = {difference['n']}{against}: "
        f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]{doubt}{each}"
    )
