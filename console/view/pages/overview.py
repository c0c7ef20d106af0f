"""How far a run is: the pulse of its generations, Coverage, what happens now, time and budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from console.view.matrix import SkillMatrix
from console.view.page import Column, Fact, Facts, Figure, Page, Query, Row, Section, Table, at
from console.view.pages.outcome import achieved, example_of
from console.view.pages.progress import Work, generations
from console.view.source import Run
from console.view.svg.charts import Line, line_chart
from console.view.words import duration
from memory.store.lock import process_at_work


def overview(run: Run, query: Query, rest: str) -> Page:
    """The first page of a run."""
    matrix, work = SkillMatrix.of(run), Work.of(run)
    pulse = generations(run, matrix, work)
    finished = bool(run.store.meta("finished"))
    summary: Any = run.store.meta("summary") if finished else None
    sections: list[Section] = [
        *achieved(run, pulse, summary),
        Facts("Where it stands", _standing(run, pulse, work, finished)),
        *([] if finished else [Facts("What happens now", _now(run, matrix))]),
        *_figures(pulse),
        _pulse_table(pulse),
        *example_of(summary),
        _phases(run),
    ]
    return Page("Overview", sections)


def in_short(run: Run) -> str:
    """The state of a run and how far it is, in a line."""
    newest, asked = run.value("SELECT MAX(generation) FROM archives"), run.config.get("generations")
    return f"{_state_of(run)}; generation {newest or 0} of {asked}"


def _state_of(run: Run) -> str:
    if run.store.meta("finished"):
        return "finished"
    last = _last_sign(run)
    ago = "" if last is None else f"; recorded {duration(max(0.0, time.time() - last))} ago"
    if process := process_at_work(run.source.folder.path):
        return f"under way (process {process}){ago}"
    return f"unfinished, no process is at work on it{ago}"


def _standing(run: Run, pulse: Sequence[Row], work: Work, finished: bool) -> list[Fact]:
    counts = {
        row["status"]: row["n"]
        for row in run.rows("SELECT status, COUNT(*) AS n FROM families GROUP BY status")
    }
    asked = run.config.get("generations")
    newest = pulse[-1] if pulse else None
    read, written = run.ledger.total
    facts = [
        Fact("state", _state_of(run)),
        Fact("generation", f"{newest['generation'] if newest else 0} of {asked}"),
        *_fittest(run),
        Fact("experts", run.value("SELECT COUNT(*) FROM experts"), "count", "experts"),
        Fact("families that grade", counts.get("active", 0), "count", "tasks?status=active"),
        Fact("families ever accepted", sum(counts.values()), "count", "tasks"),
        Fact("answers", len(run.ledger.tokens), "count", "answers"),
        Fact("tokens read by experts", read, "count"),
        Fact("tokens written by experts", written, "count"),
        Fact("time at work", work.seconds, "seconds"),
        Fact("last recorded", _last_sign(run), "time"),
    ]
    if not finished and (left := _seconds_left(pulse, asked)) is not None:
        said = f"about {duration(left)}, without the finals" if left else "only the finals"
        facts.append(Fact("time left", said))
    return facts + _budgets(run)


def _fittest(run: Run) -> list[Fact]:
    """The fittest expert of the latest archive, and how it was made."""
    row = run.row(
        "SELECT experts.id, experts.generation, json_extract(record, '$.operator') AS operator "
        "FROM archive_entries JOIN experts ON experts.id = expert "
        "WHERE archive_entries.generation = (SELECT MAX(generation) FROM archives) "
        "ORDER BY fitness DESC, rank LIMIT 1"
    )
    if row is None:
        return []
    said = f"{row['id']} ({row['operator']}, generation {row['generation']})"
    return [Fact("fittest expert", said, to=at("experts", row["id"]))]


def _last_sign(run: Run) -> float | None:
    moments = [
        run.value("SELECT MAX(ended_ns) / 1e9 FROM spans"),
        run.value("SELECT MAX(at) FROM events"),
        run.value("SELECT MAX(at) FROM archives"),
    ]
    return max((moment for moment in moments if moment is not None), default=None)


def _seconds_left(pulse: Sequence[Row], asked: int | None) -> float | None:
    """As long as the generations since the founders took, for each that is missing."""
    if len(pulse) < 2 or asked is None:
        return None
    each: float = (pulse[-1]["seconds"] - pulse[0]["seconds"]) / (len(pulse) - 1)
    return each * max(0, asked - int(pulse[-1]["generation"]))


def _budgets(run: Run) -> list[Fact]:
    """What each role has used of its limits, where it has any."""
    endpoints = run.config.get("endpoints", {})
    totals = run.store.call_totals()
    facts = []
    for role, used in totals.items():
        own = (endpoints.get(role) or {}).get("budget")
        limits = own or (endpoints.get("scientist") or {}).get("budget") or {}
        amounts = {"calls": used["attempts"], "tokens": used["tokens_in"] + used["tokens_out"]}
        facts += [
            Fact(f"{what} of the {role}", f"{amount:,} of {limits[what]:,}", to="agents")
            for what, amount in amounts.items()
            if limits.get(what) is not None
        ]
    return facts


def _now(run: Run, matrix: SkillMatrix) -> list[Fact]:
    phase = run.row(
        "SELECT name, ended_ns / 1e9 AS at FROM spans WHERE kind = 'phase' "
        "ORDER BY ended_ns DESC LIMIT 1"
    )
    latest = run.row("SELECT kind, name FROM spans ORDER BY started_ns DESC LIMIT 1")
    newest = run.value("SELECT MAX(generation) FROM experts")
    born = run.rows("SELECT id FROM experts WHERE generation = ?", newest or 0)
    active = run.rows("SELECT id FROM families WHERE status = 'active'")
    rows = matrix.rows(row["id"] for row in born)
    columns = matrix.columns(row["id"] for row in active)
    graded = int((matrix.asked[rows][:, columns] > 0).sum()) if rows and columns else 0
    drafts = run.value("SELECT COUNT(*) FROM assignments WHERE status IN ('open', 'candidate')")
    return [
        Fact("latest work", f"{latest['kind']}: {latest['name']}" if latest else None),
        Fact("phase that ended last", phase["name"] if phase else None),
        Fact("proposals under way", drafts, "count", "agents"),
        Fact(
            f"grades of generation {newest or 0}",
            f"{graded:,} of {len(rows) * len(columns):,} (experts times families)",
        ),
    ]


def _figures(pulse: Sequence[Row]) -> list[Section]:
    if not pulse:
        return []

    def line(name: str, x: str, y: str) -> Line:
        return Line(name, [(row[x], row[y]) for row in pulse if row[x] is not None])

    def coverage(x: str) -> list[Line]:
        return [
            line("archive", x, "coverage"),
            line("seeds", x, "seeds"),
            line("archive, where all seeds were asked", x, "archive_there"),
        ]

    key = [
        ("c0", "archive, on the pool"),
        ("c2", "archive, where all seeds were asked"),
        ("c1", "seeds there"),
    ]
    fitness = line_chart(
        "Fitness by generation",
        [line("best", "generation", "best"), line("mean", "generation", "mean")],
        "generation",
        whole=True,
    )
    by_generation = line_chart(
        "Coverage by generation", coverage("generation"), "generation", whole=True
    )
    by_time = line_chart(
        "Coverage against time at work", coverage("seconds"), "time at work", duration
    )
    figures: list[Section] = [
        Figure("Fitness", fitness, key=[("c0", "best of the archive"), ("c1", "mean")]),
        Figure("Coverage by generation", by_generation, key=key),
        Figure("Coverage against time", by_time, key=key),
    ]
    if pulse[-1]["tokens"] is not None:
        chart = line_chart("Coverage against tokens", coverage("tokens"), "tokens of experts")
        figures.append(Figure("Coverage against tokens", chart, key=key))
    return figures


def _pulse_table(pulse: Sequence[Row]) -> Table:
    return Table(
        "generations",
        "Generations",
        [
            Column("generation", "generation", "count"),
            Column("experts", "archive", "count"),
            Column("families", "pool", "count"),
            Column("best", "best fitness", "share"),
            Column("mean", "mean fitness", "share"),
            Column("coverage", "Coverage", "share"),
            Column("shared", "seeds asked", "count"),
            Column("archive_there", "archive there", "share"),
            Column("seeds", "seeds there", "share"),
            Column("seconds", "time at work", "seconds"),
            Column("tokens", "tokens of experts", "count"),
            Column("at", "selected at", "time"),
        ],
        pulse,
        note="Fitness is what selection saw. Coverage is that of the archive on the pool of its "
        "time, by the latest grades. Seeds asked: on how many families of the pool every seed was "
        "graded; there archive and seeds are compared.",
    )


def _phases(run: Run) -> Table:
    seconds = run.store.phase_seconds()
    return Table(
        "phases",
        "Where the time went",
        [Column("phase", "phase"), Column("seconds", "time", "seconds")],
        [{"phase": name, "seconds": spent} for name, spent in seconds.items()],
        order="-seconds",
        note="Phases may overlap: scientists work beside each other, and while models load.",
    )
