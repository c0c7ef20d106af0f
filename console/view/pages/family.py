"""One family, or one proposal that came to nothing, with all that was said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.chat.endpoints import OFFLINE
from agents.families.items import Item, all_asked
from console.errors import NotFoundError
from console.view.matrix import latest_archive
from console.view.page import (
    Column,
    Fact,
    Facts,
    Figure,
    Links,
    Page,
    Query,
    Row,
    Section,
    Table,
    Text,
    at,
)
from console.view.pages.transcript import transcript
from console.view.source import Run
from console.view.svg.charts import Bar, bar_chart
from memory.messages import count_of
from memory.records import FINALS, Assignment, Family

_PERIODS = {FINALS: "finals"}


def family(run: Run, query: Query, rest: str) -> Page:
    """A family by its id, or an assignment by its own.

    Raises:
        NotFoundError: there is neither.
    """
    found = run.row("SELECT id FROM families WHERE id = ?", rest)
    assigned = run.row("SELECT id FROM assignments WHERE id = ?1 OR family = ?1", rest)
    if found is None and assigned is None:
        raise NotFoundError(f"the run has no family or proposal {rest!r}")
    assignment = run.store.assignment(assigned["id"]) if assigned else None
    if found is None:
        accepted = run.store.assignment_status(rest).family
        found = {"id": accepted} if accepted else None
    sections: list[Section] = []
    name = _last_name(run, rest)
    if found is not None:
        record = run.store.family(found["id"])
        name = record.name
        sections += _accepted(run, record)
    if assignment is not None:
        sections += _assigned(run, assignment, run.store.family(found["id"]) if found else None)
        sections += transcript(run, assignment.id)
    return Page(name, sections, crumbs=[("tasks", "Tasks")])


def _last_name(run: Run, assignment: str) -> str:
    """What a proposal was called when it was last written, with its id."""
    name = run.value(
        "SELECT json_extract(record, '$.proposal.name') FROM drafts WHERE assignment = ? "
        "ORDER BY round DESC LIMIT 1",
        assignment,
    )
    return f"{name} ({assignment})" if name else assignment


def _accepted(run: Run, family: Family) -> Iterator[Section]:
    yield Facts(
        "Family",
        [
            Fact("id", family.id, "code"),
            Fact("status", run.store.family_status(family.id)),
            Fact("description", family.description),
            Fact("capability", family.capability),
            Fact("field", family.field),
            Fact("generator", family.generator),
            Fact("kind", family.kind),
            Fact("asks at level", f"{family.level} of {family.levels}"),
            Fact("a constant answer passes", family.chance, "share"),
            Fact("graded by", "a rater, with a rubric" if family.rated else "its code"),
            Fact("revised before it was accepted", count_of(family.revisions, "time")),
            Fact("scientist", family.scientist),
        ],
    )
    if family.curve:
        yield _curve(family)
    yield _passes(run, family)
    yield instance_table(run, family)
    yield from _lineage(run, family)
    yield _events(run, family)
    if family.rubric:
        yield Text("Rubric", family.rubric)
    yield Text("Program", family.code, folded=True, mark="code")


def _curve(family: Family) -> Figure:
    bars = [
        Bar(
            f"level {rate.level}",
            rate.passed / rate.asked if rate.asked else 0.0,
            f"{rate.passed} of {rate.asked} right"
            + (f", by chance {rate.chance:.0%}" if rate.chance else ""),
            "c0" if rate.level == family.level else "cx",
        )
        for rate in family.curve
    ]
    others = [("cx", "other levels that were tried")] if len(bars) > 1 else []
    return Figure(
        "What the trial panel got right",
        bar_chart("Right answers of the trial panel by level", bars, longest=1.0),
        key=[("c0", "the level at which it asks"), *others],
    )


def _passes(run: Run, family: Family) -> Table:
    archive = set(latest_archive(run))
    rows = run.rows(
        "SELECT skills.expert, passes, asked, MAX(period) AS period, experts.generation, "
        "json_extract(experts.record, '$.operator') AS operator FROM skills "
        "JOIN experts ON experts.id = skills.expert WHERE family = ? GROUP BY skills.expert",
        family.id,
    )
    for row in rows:
        row["rate"] = row["passes"] / row["asked"]
        row["archive"] = "yes" if row["expert"] in archive else ""
    return Table(
        "experts",
        "Who passes it",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("rate", "pass rate", "share"),
            Column("passes", "passes", "count"),
            Column("asked", "of", "count"),
            Column("archive", "in the archive"),
            Column("operator", "operator"),
            Column("generation", "generation", "count"),
        ],
        rows,
        order="-rate",
        note="By the latest grades of each expert.",
    )


def instance_table(run: Run, family: Family) -> Table:
    """What was ever asked of a family, with how many answered."""
    items = all_asked(run.store, family)
    periods = {each.name: each.period for each in run.store.instances(family.id)}
    counts = answered(run, items)
    rows = [
        {
            "instance": item.instance,
            "period": _PERIODS.get(period, period)
            if (period := periods.get(item.instance)) is not None
            else "own",
            "question": item.instructions,
            "reference": item.reference,
            **counts.get(item.instance_hash, {"answers": 0, "right": 0, "unmarked": 0}),
            "family": family.id,
        }
        for item in items
    ]
    return Table(
        "instances",
        "What it asks",
        [
            Column("instance", "instance", "code", "answers?family={family}&instance={instance}"),
            Column("period", "period"),
            Column("question", "question"),
            Column("reference", "a right answer", "code"),
            Column("answers", "answers", "count"),
            Column("right", "right", "count"),
            Column("unmarked", "extraction failed", "count"),
        ],
        rows,
        note="Period: instances are drawn anew each time that the pool is renewed; its own are "
        "those with which it was accepted. Nobody is ranked on these, or on those of the finals.",
    )


def answered(run: Run, items: Sequence[Item]) -> dict[str, Row]:
    """Instance -> answers, how many of them are right, and how many had no marker."""
    found: dict[str, Row] = {}
    for item in items:
        # From the genomes, since answers can be looked up by them.
        row = run.row(
            "SELECT COUNT(*) AS answers, SUM((SELECT 2 * SUM(passed) > COUNT(*) FROM grades "
            "WHERE answer_key = answers.key)) AS right, "
            "SUM(json_extract(answers.record, '$.unmarked')) AS unmarked "
            "FROM (SELECT DISTINCT genome_id AS genome FROM experts) CROSS JOIN answers "
            "ON answers.genome_id = genome AND answers.instance_hash = ?",
            item.instance_hash,
        )
        if row and row["answers"]:
            found[item.instance_hash] = {
                **row,
                "right": row["right"] or 0,
                "unmarked": row["unmarked"] or 0,
            }
    return found


def _lineage(run: Run, family: Family) -> Iterator[Section]:
    children = run.rows(
        "SELECT id, json_extract(record, '$.kind') AS kind "
        "FROM families WHERE EXISTS (SELECT 1 FROM json_each(record, '$.parents') WHERE value = ?) "
        "ORDER BY seq",
        family.id,
    )
    if family.parents:
        yield Links(
            "Grew out of",
            [(at("tasks", each), run.family_names.get(each, each)) for each in family.parents],
        )
    if children:
        yield Links(
            "What grew out of it",
            [
                (at("tasks", row["id"]), f"{run.family_names[row['id']]} ({row['kind']})")
                for row in children
            ],
        )


def _events(run: Run, family: Family) -> Table:
    rows = [event.model_dump() for event in run.store.family_events(family.id)]
    columns = [
        Column("status", "status"),
        Column("reason", "why"),
        Column("generation", "generation", "count"),
        Column("at", "at", "time"),
    ]
    return Table("events", "What became of it", columns, rows)


def _assigned(run: Run, assignment: Assignment, family: Family | None) -> Iterator[Section]:
    outcome = run.store.assignment_status(assignment.id)
    names = run.family_names
    parent = assignment.parent
    facts = [
        Fact("proposal", assignment.id, "code"),
        Fact("asked for", assignment.kind),
        Fact("parent", names.get(parent, parent), to=at("tasks", parent))
        if parent
        else Fact("parent", None),
        Fact("field asked for", assignment.field),
        Fact("outcome", outcome.status),
    ]
    if outcome.rejection is not None:
        facts += [
            Fact("rejected for", outcome.rejection.reason),
            Fact("because", outcome.rejection.detail),
        ]
    note = _how_written(run, assignment, family)
    yield Facts("What the scientist was asked for", facts, note)
    shown: dict[str, Any] = {
        "Inspirations": [names.get(each, each) for each in assignment.inspirations],
        "Weak spots of the archive": assignment.weak_spots,
        "Lately rejected": assignment.lately_rejected,
    }
    for title, lines in shown.items():
        if lines:
            yield Text(title, "\n".join(lines), folded=True)


def _how_written(run: Run, assignment: Assignment, family: Family | None) -> str:
    """Where a family came from otherwise than one expects of what was asked for."""
    said = []
    drafts = run.store.drafts(assignment.id)
    first = drafts[0].proposal if drafts else None
    parent = run.store.family(assignment.parent) if assignment.parent else None
    if parent is not None and first is not None and first.get("code") == parent.code:
        name = run.family_names[parent.id]
        level = f", level {family.level} of {family.levels}" if family else ""
        said.append(
            f"Its first draft is the program of {name} at another level{level}: no model was "
            "asked to write it."
        )
    asked = assignment.field
    if family is not None and asked and family.field != asked and family.scientist == OFFLINE:
        said.append(
            f"It is of the field {family.field}: the offline scientist follows a field only where "
            "its catalogue has something in it that small models can do."
        )
    return " ".join(said)
