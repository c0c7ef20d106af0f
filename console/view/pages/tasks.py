"""The families of a run and the proposals that came to nothing, with filters, and the funnel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

import numpy as np

from console.view.matrix import SkillMatrix, latest_archive
from console.view.page import Choice, Column, Figure, Form, Page, Query, Row, Table
from console.view.source import Run
from console.view.svg.charts import Bar, bar_chart
from memory.records import AssignmentKind, FamilyStatus

_FAMILIES = """
SELECT id, status, generation, generator,
    json_extract(record, '$.name') AS name,
    json_extract(record, '$.kind') AS kind,
    json_extract(record, '$.capability') AS capability,
    json_extract(record, '$.field') AS field,
    json_extract(record, '$.level') AS level,
    json_extract(record, '$.levels') AS levels,
    json_extract(record, '$.revisions') AS revisions,
    json_extract(record, '$.scientist') AS scientist,
    IIF(status = 'active', NULL, (SELECT reason FROM family_events
        WHERE family = families.id ORDER BY seq DESC LIMIT 1)) AS why
FROM families ORDER BY seq
"""
_REJECTED = """
SELECT id, generation, reason, detail, json_extract(record, '$.kind') AS kind,
    json_extract(record, '$.field') AS field, json_extract(record, '$.parent') AS parent,
    (SELECT COUNT(*) FROM drafts WHERE assignment = assignments.id) AS rounds,
    (SELECT json_extract(drafts.record, '$.proposal.name') FROM drafts
        WHERE assignment = assignments.id ORDER BY round DESC LIMIT 1) AS name
FROM assignments WHERE status = 'rejected' ORDER BY generation, position
"""
_SEARCHED = ("id", "name", "capability", "generator", "field")
_OF_PROPOSAL = {"malformed", "context_length", "endpoint"}
_OF_TRIAL = {
    "too_hard",
    "too_easy",
    "levels_gap",
    "levels_disordered",
    "equal_scores",
    "constant_passes",
}
_OF_CRITIC = {"critic_reject", "rounds_exhausted"}
_OF_NOVELTY = {"duplicate", "not_novel"}


def tasks(run: Run, query: Query, rest: str) -> Page:
    """All families, and what was rejected."""
    families = family_rows(run)
    rejected = run.rows(_REJECTED)
    found = [row for row in families if _fits(row, query)]
    turned_down = [row for row in rejected if _fits_rejected(row, query)]
    tables = [_family_table(found), _rejected_table(turned_down)]
    if query.get("reason"):
        # Who asks for a reason looks for proposals.
        tables.reverse()
    return Page("Tasks", [_form(families, rejected, query), *tables, *funnel(run)])


def family_rows(run: Run) -> list[Row]:
    """A row for each family, with what the archive passes of it."""
    return [dict(row) for row in run.kept("families", _read_families)]


def _read_families(run: Run) -> list[Row]:
    matrix = SkillMatrix.of(run)
    archive = matrix.rows(latest_archive(run))
    rates = matrix.mean_by_family(archive)
    graded = (matrix.asked[archive] > 0).sum(axis=0)
    solvers = (np.nan_to_num(matrix.rates[archive]) > 0.5).sum(axis=0)
    rows = run.rows(_FAMILIES)
    for row in rows:
        row["name"] = run.family_names[row["id"]]
        column = matrix.column_of[row["id"]]
        rate = float(rates[column])
        row["rate"] = None if np.isnan(rate) else rate
        row["graded"], row["solvers"] = int(graded[column]), int(solvers[column])
    return rows


def _fits(row: Row, query: Query) -> bool:
    exact = ("status", "kind", "generator", "capability")
    if any(query.get(key) and row[key] != query[key] for key in exact):
        return False
    if query.get("level") and str(row["level"]) != query["level"]:
        return False
    if query.get("rate") and not _in_band(row["rate"], query["rate"]):
        return False
    words = query.get("q", "").casefold().split()
    text = " ".join(str(row[key]) for key in _SEARCHED).casefold()
    return all(word in text for word in words)


def _in_band(rate: float | None, band: str) -> bool:
    match band:
        case "none":
            return rate is None
        case "zero":
            return rate == 0
        case "all":
            return rate == 1
        case "some":
            return rate is not None and 0 < rate < 1
        case _:
            return True


def _fits_rejected(row: Row, query: Query) -> bool:
    if any(query.get(key) for key in ("status", "generator", "capability", "level", "rate")):
        return False
    if any(query.get(key) and row[key] != query[key] for key in ("reason", "kind")):
        return False
    text = " ".join(str(row[key]) for key in ("id", "name", "detail", "reason", "field")).casefold()
    return all(word in text for word in query.get("q", "").casefold().split())


def _form(families: Sequence[Row], rejected: Sequence[Row], query: Query) -> Form:
    def choice(name: str, label: str, values: Sequence[str], closed: bool = False) -> Choice:
        options = [("", "any"), *((value, value) for value in values)]
        return Choice(name, label, query.get(name, ""), options, closed=closed)

    def seen(key: str, rows: Sequence[Row] = families) -> list[str]:
        found = Counter(str(row[key]) for row in rows if row[key] not in (None, ""))
        # A list of all that 2,000 families say of themselves helps nobody: search finds the rest.
        return sorted(name for name, _ in found.most_common(60))

    bands = [("", "any"), ("zero", "0"), ("some", "between"), ("all", "1"), ("none", "not graded")]
    return Form(
        [
            Choice("q", "Search", query.get("q", "")),
            choice("status", "Status", get_args(FamilyStatus), closed=True),
            choice("kind", "Kind", get_args(AssignmentKind), closed=True),
            choice("generator", "Generator", seen("generator")),
            choice("capability", "Capability", seen("capability")),
            choice("level", "Level", seen("level")),
            Choice("rate", "Pass rate of the archive", query.get("rate", ""), bands, closed=True),
            choice("reason", "Rejected for", seen("reason", rejected)),
        ]
    )


def _family_table(rows: Sequence[Row]) -> Table:
    return Table(
        "families",
        "Families",
        [
            Column("name", "name", to="tasks/{id}"),
            Column("id", "id", "code", apart=True),
            Column("status", "status"),
            Column("why", "because"),
            Column("kind", "kind"),
            Column("generator", "generator"),
            Column("capability", "capability"),
            Column("level", "level", "count"),
            Column("levels", "of levels", "count"),
            Column("rate", "pass rate", "share"),
            Column("solvers", "solvers", "count"),
            Column("graded", "graded", "count"),
            Column("generation", "generation", "count"),
            Column("revisions", "revisions", "count", apart=True),
            Column("scientist", "scientist", apart=True),
        ],
        rows,
        note="Pass rate: mean over the archive, by the latest grades. Solvers: experts of the "
        "archive that pass more than half. Held: it waits while a harder child is tried; retired: "
        "it grades no more. Ids, revisions and scientists are in CSV and JSON.",
    )


def _rejected_table(rows: Sequence[Row]) -> Table:
    return Table(
        "rejected",
        "Rejected proposals",
        [
            Column("id", "proposal", to="tasks/{id}"),
            Column("name", "name"),
            Column("kind", "kind"),
            Column("reason", "reason"),
            Column("detail", "detail"),
            Column("rounds", "rounds", "count"),
            Column("generation", "generation", "count"),
        ],
        rows,
    )


_STAGES = {
    "proposal": "could be read",
    "gates": "passed the gates",
    "trial": "passed the trial",
    "critic": "passed the critic",
    "novelty": "new: accepted",
}


def funnel(run: Run) -> tuple[Figure, Table]:
    """How far proposals came: gates, trial, critic, novelty; and which families still grade."""
    proposals = run.kept("proposals", _read_proposals)
    lost = Counter(_stage(row) for row in proposals if row["status"] == "rejected")
    under_way = sum(row["status"] in ("open", "candidate") for row in proposals)
    rows: list[Row] = [{"stage": "proposed", "left": len(proposals), "lost": 0, "where": ""}]
    left = len(proposals) - under_way
    for stage, name in _STAGES.items():
        left -= lost[stage]
        where = f"{lost[stage]} lost" if lost[stage] else ""
        rows.append({"stage": name, "left": left, "lost": lost[stage], "where": where})
    statuses = Counter(row["status"] for row in family_rows(run))
    gone = ", ".join(f"{statuses[name]} {name}" for name in ("retired", "held") if statuses[name])
    rows.append(
        {
            "stage": "active now",
            "left": statuses["active"],
            "lost": statuses.total() - statuses["active"],
            "where": gone,
        }
    )
    bars = [
        Bar(
            row["stage"],
            row["left"],
            f"{row['left']}" + (f" ({row['where']})" if row["where"] else ""),
        )
        for row in rows
    ]
    note = f"{under_way} of them are still under way. " if under_way else ""
    return (
        Figure("Where tasks end", bar_chart("Funnel of proposals and families", bars), note=note),
        Table(
            "funnel",
            "The same as a table",
            [
                Column("stage", "stage"),
                Column("left", "left", "count"),
                Column("lost", "no longer", "count"),
                Column("where", "of them"),
            ],
            rows,
            lookup=True,
        ),
    )


def _read_proposals(run: Run) -> list[Row]:
    return run.rows(
        "SELECT assignments.id, status, reason, "
        "(SELECT json_extract(record, '$.gates.code') FROM drafts "
        " WHERE assignment = assignments.id ORDER BY round DESC LIMIT 1) AS gate FROM assignments"
    )


def _stage(row: Row) -> str:
    """At which stage a proposal was lost: of one whose rounds ran out, where the last one was."""
    reason = row["reason"]
    if reason == "rounds_exhausted" and row["gate"]:
        reason = row["gate"]
    for stage, reasons in (
        ("proposal", _OF_PROPOSAL),
        ("trial", _OF_TRIAL),
        ("critic", _OF_CRITIC),
        ("novelty", _OF_NOVELTY),
    ):
        if reason in reasons:
            return stage
    return "gates"
