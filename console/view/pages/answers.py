"""Answers: one task with all experts side by side, or all that one expert said of a family."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from agents.families.items import Item, all_asked, asked_by_hash
from console.errors import NotFoundError, RequestError
from console.view.matrix import latest_archive
from console.view.page import (
    Choice,
    Column,
    Form,
    Links,
    Page,
    Query,
    Row,
    Section,
    Table,
    Text,
    at,
    number_in,
)
from console.view.pages.family import instance_table
from console.view.source import Run
from memory.records import Family

SHOWN = {
    "": "all",
    "wrong": "wrong",
    "named": "wrong, though the reply has a right answer in it",
    "right": "right",
    "unmarked": "extraction failed",
    "cut": "cut off at the limit of tokens",
    "ungraded": "not graded",
}
MOST_OPTIONS = 300
"""Families that a list offers."""
SEARCHED = 2000
"""Answers that are searched for one page; CSV and JSON search all."""

_FIELDS = """
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
"""
_ANSWERS = f"""{_FIELDS}
FROM experts CROSS JOIN answers ON answers.genome_id = experts.genome_id
WHERE answers.instance_hash IN (SELECT value FROM json_each(?1))
    AND (?2 = '' OR experts.id = ?2)
ORDER BY experts.generation, experts.birth, experts.id, answers.instance_hash, sample
"""
"""Experts first: answers can be looked up by genome, and not by instance alone."""
_LATEST = f"""{_FIELDS}, answers.place
FROM (
    SELECT rowid AS place, * FROM answers WHERE rowid < ?1 ORDER BY rowid DESC LIMIT ?2
) AS answers
    LEFT JOIN experts ON answers.genome_id = experts.genome_id
ORDER BY answers.place DESC, experts.generation, experts.birth, experts.id
"""
_ASKED = """
SELECT id FROM families WHERE id IN (
    SELECT family FROM skills WHERE expert = ?1 UNION SELECT family FROM finals WHERE expert = ?1
) ORDER BY seq
"""
_FIRST = 2**63 - 1
"""Beyond every rowid."""


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
    rows = _wanted(run, rows, query)
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
        _complete(row, family, by_hash[row["instance_hash"]])
    return rows


def _complete(row: Row, family: str, item: Item) -> None:
    """Put what was asked beside what was answered."""
    row["family"], row["question"] = family, item.instructions
    row["instance"], row["reference"] = item.instance, item.reference
    row["again"] = "sampled" if row["sample"] else ""
    row["passed"] = None if row["passed"] is None else bool(row["passed"])
    row["unmarked"] = bool(row["unmarked"])


def fits(row: Row, show: str) -> bool:
    """Whether an answer passes a filter."""
    match show:
        case "wrong":
            return row["passed"] is False
        case "named":
            return row["passed"] is False and _names(row["text"], row["reference"])
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


def _names(text: str, reference: str) -> bool:
    """Whether a reply has a reference in it, as words or a number of its own."""
    sought = re.escape(reference.strip())
    return bool(sought and re.search(rf"(?<!\w)(?<!\d\.){sought}(?!\w|\.\d)", text, re.IGNORECASE))


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
            Column("again", "how", apart=not any(row["sample"] for row in rows)),
            Column("extracted", "extracted", "code"),
            Column("reference", "a right answer", "code"),
            Column("text", "whole reply", "code"),
            Column("unmarked", "extraction", "failed"),
            Column("ended", "ended by"),
            Column("tokens", "tokens", "count"),
            Column("sample", "sample", "count", apart=True),
            Column("detail", "rater's reason"),
        ],
        rows,
        note='Extraction failed: the reply had no marker such as "Answer:", so all is graded. '
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
    """What one expert said, what a filter finds in the whole run, or which families there are.

    Raises:
        RequestError: an instance of no family is asked for.
    """
    if query.get("instance"):
        raise RequestError("an instance is one of a family: name it too")
    form = _form(run, names, query, None, [])
    if expert:
        table = _of_expert(run, expert, query)
        return Page(expert, [form, table], crumbs=[("experts", "Experts")])
    if query.get("show") or query.get("among"):
        return Page("Answers", [form, *_searched(run, query)], crumbs=[("tasks", "Tasks")])
    rows = [{"family": key, "name": name} for key, name in names.items()]
    table = Table(
        "families",
        "Families",
        [Column("name", "name", to="answers?family={family}"), Column("family", "id", "code")],
        rows,
        note="Choose a family to see what was answered to it; or choose which answers are shown, "
        "and they are those to all families.",
    )
    return Page("Answers", [form, table])


def _of_expert(run: Run, expert: str, query: Query) -> Table:
    """All that an expert answered of what was asked of accepted families, with the question."""
    families = (run.store.family(row["id"]) for row in run.rows(_ASKED, expert))
    items = asked_by_hash(run.store, families)
    rows = answer_rows(run, [item for _, item in items.values()], expert, "")
    for row in rows:
        row["family"] = items[row["instance_hash"]][0]
    table = _with_question(answer_table(_wanted(run, rows, query), one=False))
    return replace(table, columns=[each for each in table.columns if each.key != "expert"])


def _with_question(table: Table, said: str = "") -> Table:
    """Answers to several families: what was asked stands first."""
    question = Column("question", "question", to="answers?family={family}")
    return replace(table, columns=[question, *table.columns], note=f"{said} {table.note}".strip())


def _searched(run: Run, query: Query) -> Iterator[Section]:
    """The answers to all families that a filter wants, the latest first."""
    items = asked_in(run)
    whole = "format" in query
    before = number_in(query.get("before", ""), _FIRST)
    found = run.rows(_LATEST, before, -1 if whole else SEARCHED)
    last = min((row.pop("place") for row in found), default=0)
    # What no accepted family asks was part of a trial.
    rows = [row for row in found if row["expert"] and row["instance_hash"] in items]
    for row in rows:
        _complete(row, *items[row["instance_hash"]])
    more = not whole and run.row("SELECT 1 FROM answers WHERE rowid < ?", last) is not None
    said = f"Found in {SEARCHED:,} answers, the latest first; CSV and JSON hold those of all."
    yield _with_question(answer_table(_wanted(run, rows, query), one=False), said if more else "")
    if more:
        kept = {name: query[name] for name in ("show", "among") if query.get(name)}
        yield Links("More", [(at("answers", **kept, before=str(last)), "Search older answers")])


def asked_in(run: Run) -> dict[str, tuple[str, Item]]:
    """Instance hash -> id of the family and question, of all that accepted families ever asked."""
    found: dict[str, tuple[str, Item]] = run.kept(
        "items", lambda run: asked_by_hash(run.store, run.store.families())
    )
    return found


def _wanted(run: Run, rows: Iterable[Row], query: Query) -> list[Row]:
    """The answers that the filters of a page let pass."""
    archive = set(latest_archive(run)) if query.get("among") == "archive" else None
    return [
        row
        for row in rows
        if (archive is None or row["expert"] in archive) and fits(row, query.get("show", ""))
    ]
