"""What the collective of a run achieves: Coverage on the pool and in the finals, and an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from console.view.matrix import latest_archive
from console.view.page import Column, Fact, Facts, Row, Section, Table, Text
from console.view.source import Run
from memory.records import Voice

_ABOUT = (
    "Coverage: how likely at least one of some experts solves an instance, mean over families. "
    "In the finals it is counted by instances that are asked anew; one that answers at a "
    "temperature counts there by the share of its samples that pass, as if these were independent "
    "of the others. On the pool, on which the archive was selected, it is computed from pass rates "
    "of families, as if experts failed independently of each other: those that are alike fail "
    "together, so that it is too high there."
)


def achieved(run: Run, pulse: Sequence[Row], summary: Any) -> Iterator[Section]:
    """Coverage in the finals, once they were held, and on the pool.

    Args:
        run: of which.
        pulse: a row for each generation.
        summary: that the run stored at its end; None before.
    """
    facts = [*_in_finals(summary), *_on_pool(pulse)]
    if facts:
        yield Facts("What it achieves: Coverage", facts, _ABOUT)
    if summary:
        yield _forces(run, summary)


def _in_finals(summary: Any) -> Iterator[Fact]:
    rows = summary["coverage"]["task_force"] if summary else []
    if rows:
        size = rows[-1]["n"]
        yield Fact(f"in the finals: task force of {size}", rows[-1]["coverage"], "share")
        seeds = {row["n"]: row["coverage"] for row in summary["coverage"].get("experts", [])}
        yield Fact(f"in the finals: {size} answers of the seeds", seeds.get(size), "share")


def _on_pool(pulse: Sequence[Row]) -> Iterator[Fact]:
    if not pulse:
        return
    newest = pulse[-1]
    families, shared = newest["families"], newest["shared"]
    yield Fact(f"on the pool ({families} families): archive", newest["coverage"], "share")
    if not shared:
        yield Fact("on the pool: seeds", "not asked")
    else:
        yield Fact(
            f"on the {shared} families that all seeds were asked: archive",
            newest["archive_there"],
            "share",
        )
        yield Fact("on the same: seeds", newest["seeds"], "share")


def _forces(run: Run, summary: dict[str, Any]) -> Table:
    """Coverage in the finals by N, the forces beside the seeds resampled."""
    coverage = summary["coverage"]
    baseline = {row["n"]: row["coverage"] for row in coverage.get("experts", [])}
    rows = [
        {
            "n": row["n"],
            "coverage": row["coverage"],
            "resampled": baseline.get(row["n"]),
            "voices": [
                Voice(expert, temperature).label
                for expert, temperature in zip(
                    row["experts"],
                    row.get("temperatures") or [0.0] * len(row["experts"]),
                    strict=True,
                )
            ],
        }
        for row in coverage["task_force"]
    ]
    return Table(
        "forces",
        "The finals: Coverage of N voices",
        [
            Column("n", "N", "count"),
            Column("coverage", "task force", "share"),
            Column("resampled", "seeds resampled", "share"),
            Column("voices", "voices of the task force", "names"),
        ],
        rows,
        note=f"On {summary.get('instances', 0)} instances of {summary.get('families', 0)} "
        f"families, {summary.get('fresh', 0)} of them never seen by selection. A voice is an "
        "expert at a temperature, greedy where none stands; the task force are the N voices that "
        "together solve most of these instances, which flatters it: acdc evaluate --baselines "
        "measures its lead on other tasks. Seeds resampled: the seeds in turn, greedy first, then "
        f"sampled. {_greedily(run, coverage)}",
    )


def _greedily(run: Run, coverage: dict[str, Any]) -> str:
    """Archive and seeds in the finals, each expert once; how many of them were there."""
    there = {row["expert"] for row in run.rows("SELECT DISTINCT expert FROM finals")}
    if not there or "archive" not in coverage:
        return ""
    archive = len(there.intersection(latest_archive(run)))
    seeds = run.rows(
        "SELECT id FROM experts WHERE json_extract(record, '$.operator') IN ('base', 'seed')"
    )
    founders = len(there.intersection(row["id"] for row in seeds))
    return (
        f"Greedy and once each: {archive} experts of the archive, the others were not asked, "
        f"{coverage['archive']:.2f}; {founders} of the seeds and base, {coverage['seeds']:.2f}."
    )


def example_of(summary: Any) -> Iterator[Section]:
    """An instance that some voice of the force solves, the one that seeds solve least."""
    example = summary.get("example") if summary else None
    if not example:
        return
    answers = example["answers"]
    right = sum(bool(answer["passed"]) for answer in answers)
    seeds = example.get("solved_by_seeds")
    also = "" if seeds is None else f"; of the seeds {', '.join(seeds) or 'none'}"
    yield Text(
        "An example: what the task force solves and the seeds solve least",
        example["question"],
        note=f"Of the finals. {right} of the {len(answers)} voices are right{also}.",
    )
    yield Table(
        "example",
        "What its voices answered",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("temperature", "temperature", "number"),
            Column("extracted", "answer", "code"),
            Column("passed", "verdict", "verdict"),
        ],
        answers,
        note=f"A right answer: {example.get('reference', '')}",
    )
