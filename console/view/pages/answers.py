"""Answers: one task with all experts side by side, or all that one expert said of a family."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from agents.families.items import Item, all_asked, asked_by_hash
from console.errors import NotFoundError
from console.view.matrix import latest_archive
from console.view.page import Choice, Column, Form, Page, Query, Row, Section, Table, Text
from console.view.pages.family import instance_table
from console.view.source import Run
from memory.records import Family

SHOWN = {
    "": "all",
    "wrong": "wrong",
    "right": "right",
    "unmarked": "extraction failed",
    "cut": "cut off at the limit of tokens",
    "ungraded": "not graded",
}
MOST_OPTIONS = 300
"""Families that a list offers."""
MOST = 2000
"""Answers that are looked at for one page."""

_ANSWERS = """
SELECT experts.id AS expert, experts.generation, answers.key, answers.instance_hash,
    json_extract(answers.record, '$.sample') AS sample,
    json_extract(answers.record, '$.extracted') AS extracted,
    json_extract(answers.record, '$.unmarked') AS unmarked,
    json_extract(answers.record, '$.reply.text') AS text,
    json_extract(answers.record, '$.reply.tokens_out') AS tokens,
    json_extract(answers.record, '$.reply.finish_reason') AS ended,
    (SELECT 2 * SUM(passed) > COUNT(*) FROM grades WHERE answer_key = answers.key) AS passed,
    (SELECT json_extract(record, '$.detail') FROM grades WHERE answer_key = answers.key
        ORDER BY key LIMIT 1) AS detail
FROM experts CROSS JOIN answers ON answers.genome_id = experts.genome_id
WHERE answers.instance_hash IN (SELECT value FROM json_each(?1))
    AND (?2 = '' OR experts.id = ?2)
ORDER BY experts.generation, experts.birth, experts.id, answers.instance_hash, sample
"""
"""Experts first: answers can be looked up by genome, and not by instance alone."""


def answers(run: Run, query: Query, rest: str) -> Page:
    """The answers to one instance, to one family, or of one expert."""
    names = run.family_names
    chosen, expert = query.get("family", ""), query.get("expert", "")
    if chosen and chosen not in names:
        raise NotFoundError(f"the run has no family {chosen!r}")
    if expert and run.row("SELECT id FROM experts WHERE id = ?", expert) is None:
        raise NotFoundError(f"the run has no expert {expert!r}")
    if not chosen:
        return _without_family(run, names, query, expert)
    family = run.store.family(chosen)
    items = all_asked(run.store, family)
    instance = query.get("instance", "")
    asked = [item for item in items if instance in ("", item.instance)]
    if instance and not asked:
        raise NotFoundError(f"the family {chosen!r} has no instance {instance!r}")
    rows = answer_rows(run, asked, expert, family.id)
    archive = set(latest_archive(run))
    if query.get("among") == "archive":
        rows = [row for row in rows if row["expert"] in archive]
    rows = [row for row in rows if fits(row, query.get("show", ""))]
    sections: list[Section] = [_form(run, names, query, family, items)]
    if len(asked) == 1:
        sections += _question(asked[0])
    sections.append(answer_table(rows, one=len(asked) == 1))
    if len(asked) != 1:
        sections.append(instance_table(run, family))
    return Page("Answers", sections, lead=family.name, crumbs=[("tasks", "Tasks")])


def answer_rows(run: Run, items: Sequence[Item], expert: str, family: str) -> list[Row]:
    """A row for each answer to some instances, with the reference beside it.

    Experts of the archive stand first, by rank, then the others, the oldest first.
    """
    by_hash = {item.instance_hash: item for item in items}
    rows = run.rows(_ANSWERS, json.dumps([*by_hash]), expert)
    ranks = {name: rank for rank, name in enumerate(latest_archive(run))}
    rows.sort(key=lambda row: ranks.get(row["expert"], len(ranks)))
    for row in rows:
        row["again"] = "sampled" if row["sample"] else ""
        item = by_hash[row["instance_hash"]]
        row["instance"], row["reference"] = item.instance, item.reference
        row["family"] = family
        row["passed"] = None if row["passed"] is None else bool(row["passed"])
        row["unmarked"] = bool(row["unmarked"])
    return rows


def fits(row: Row, show: str) -> bool:
    """Whether an answer passes a filter."""
    match show:
        case "wrong":
            return row["passed"] is False
        case "right":
            return row["passed"] is True
        case "unmarked":
            return bool(row["unmarked"])
        case "cut":
            return bool(row["ended"] == "length")
        case "ungraded":
            return row["passed"] is None
        case _:
            return True


def answer_table(rows: Sequence[Row], *, one: bool) -> Table:
    """Answers with extracted text, reference and verdict side by side.

    Args:
        rows: of `answer_rows`.
        one: whether all are to one instance, whose name need not be repeated.
    """
    named = Column("instance", "instance", "code", "answers?family={family}&instance={instance}")
    return Table(
        "answers",
        "Answers",
        [
            Column("expert", "expert", to="experts/{expert}"),
            *([] if one else [named]),
            Column("passed", "verdict", "verdict"),
            Column("extracted", "extracted", "code"),
            Column("reference", "a right answer", "code"),
            Column("text", "whole reply", "code"),
            Column("unmarked", "extraction", "failed"),
            Column("ended", "ended by"),
            Column("tokens", "tokens", "count"),
            Column("again", "how"),
            Column("sample", "sample", "count", apart=True),
            Column("detail", "rater's reason"),
        ],
        rows,
        note="Extraction failed: the reply had no marker such as `Answer:`; all of it was graded. "
        "Sampled: drawn at a temperature, as in the finals, beside the answer that selection saw.",
    )


def _question(item: Item) -> Iterable[Section]:
    yield Text("The question", item.instructions)
    yield Text("A right answer", item.reference, mark="right")


def _form(
    run: Run, names: dict[str, str], query: Query, family: Family | None, items: Sequence[Item]
) -> Form:
    families = [("", "choose one"), *names.items()]
    if len(families) > MOST_OPTIONS:
        # Typed by its id then; the list of families, and the tasks page, lead here too.
        families = []
    instances = [("", "all"), *((item.instance, item.instance) for item in items)]
    people = [row["id"] for row in run.rows("SELECT id FROM experts ORDER BY generation, birth")]
    return Form(
        [
            Choice("family", "Family", family.id if family else "", families),
            Choice("instance", "Instance", query.get("instance", ""), instances),
            Choice(
                "expert",
                "Expert",
                query.get("expert", ""),
                [("", "all"), *((name, name) for name in people)],
            ),
            Choice("show", "Show", query.get("show", ""), list(SHOWN.items()), closed=True),
            Choice(
                "among",
                "Among",
                query.get("among", ""),
                [("", "everybody"), ("archive", "the archive")],
                closed=True,
            ),
        ]
    )


def _without_family(run: Run, names: dict[str, str], query: Query, expert: str) -> Page:
    """What one expert said lately, or which families can be looked at."""
    form = _form(run, names, query, None, [])
    if expert:
        return Page(expert, [form, _of_expert(run, expert, query)], crumbs=[("experts", "Experts")])
    rows = [{"family": key, "name": name} for key, name in names.items()]
    table = Table(
        "families",
        "Families",
        [Column("name", "name", to="answers?family={family}"), Column("family", "id", "code")],
        rows,
        note="Choose a family to see what was answered to it.",
    )
    return Page("Answers", [form, table])


def _of_expert(run: Run, expert: str, query: Query) -> Table:
    """All that an expert answered, with the question."""
    graded = run.rows("SELECT DISTINCT family FROM skills WHERE expert = ?", expert)
    items = asked_by_hash(run.store, (run.store.family(row["family"]) for row in graded))
    rows = answer_rows(run, [item for _, item in items.values()], expert, "")
    for row in rows:
        family_id, item = items[row["instance_hash"]]
        row["family"], row["question"] = family_id, item.instructions
    shown = [row for row in rows if fits(row, query.get("show", ""))]
    table = answer_table(shown[:MOST], one=False)
    columns = [column for column in table.columns if column.key != "expert"]
    columns.insert(0, Column("question", "question", to="answers?family={family}"))
    return Table(table.name, table.title, columns, table.rows, table.note)
