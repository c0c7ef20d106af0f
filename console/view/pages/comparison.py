"""Two experts on the same instances, of one run or of two: what differs comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from agents.evaluation.intervals import cluster_bootstrap
from agents.families.items import Item, asked_by_hash
from console.errors import NotFoundError
from console.view.matrix import SkillMatrix, latest_archive
from console.view.page import Choice, Column, Fact, Facts, Form, Page, Query, Row, Section, Table
from console.view.source import Run

_SAID = """
SELECT instance_hash, json_extract(record, '$.extracted') AS extracted,
    json_extract(record, '$.reply.text') AS text, MIN(json_extract(record, '$.sample')) AS sample,
    (SELECT 2 * SUM(passed) > COUNT(*) FROM grades WHERE answer_key = answers.key) AS passed
FROM answers WHERE genome_id = (SELECT genome_id FROM experts WHERE id = ?)
GROUP BY instance_hash
"""
"""With a single MIN, SQLite takes the other columns from the row of the minimum."""


def comparison(run: Run, query: Query, rest: str) -> Page:
    """Expert A of this run and expert B of this one or another, paired by what both were asked."""
    with ExitStack() as stack:
        other = query.get("with") or run.name
        if other not in run.source.others:
            raise NotFoundError(f"there is no run {other}")
        second = run if other == run.name else stack.enter_context(run.source.others[other].open())
        first_name = query.get("a") or _best(run)
        second_name = query.get("b") or _counterpart(second, first_name, run is second)
        sections: list[Section] = [_form(run, second, first_name, second_name)]
        if first_name and second_name:
            sections += _compared(run, first_name, second, second_name)
    return Page(
        "Compare",
        sections,
        lead="Two experts, greedy, on every instance that both were asked and graded on. Task "
        "forces, and held-out tasks: acdc compare.",
        crumbs=[("experts", "Experts")],
    )


def _best(run: Run) -> str:
    return next(iter(latest_archive(run)), "")


def _counterpart(run: Run, other: str, same: bool) -> str:
    """The best of another run; of the same one the best seed, or whoever comes next."""
    if not same:
        return _best(run)
    matrix = SkillMatrix.of(run)
    seeds = run.rows(
        "SELECT id FROM experts WHERE json_extract(record, '$.operator') = 'seed' AND id <> ?",
        other,
    )
    rates = {
        matrix.experts[row]: float((matrix.passes[row].sum()) / max(matrix.asked[row].sum(), 1))
        for row in matrix.rows(seed["id"] for seed in seeds)
    }
    rest = [name for name in matrix.experts if name != other]
    return max(rates, key=lambda name: rates[name]) if rates else next(iter(rest), "")


def _form(run: Run, second: Run, a: str, b: str) -> Form:
    def people(of: Run) -> list[tuple[str, str]]:
        rows = of.rows("SELECT id FROM experts ORDER BY generation, birth, id")
        return [(row["id"], row["id"]) for row in rows]

    choices = [Choice("a", "A", a, people(run))]
    if len(run.source.others) > 1:
        runs = [(name, name) for name in run.source.others]
        choices.append(Choice("with", "B of run", second.name, runs))
    return Form([*choices, Choice("b", "B", b, people(second))])


def _compared(run: Run, a: str, second: Run, b: str) -> Iterator[Section]:
    for of, name in ((run, a), (second, b)):
        if of.row("SELECT id FROM experts WHERE id = ?", name) is None:
            raise NotFoundError(f"the run {of.name} has no expert {name!r}")
    left = {row["instance_hash"]: row for row in run.rows(_SAID, a)}
    right = {row["instance_hash"]: row for row in second.rows(_SAID, b)}
    rows = pairs(asked_of(run, a), left, right)
    # The same question may belong to families of other names in two runs.
    theirs = asked_of(second, b) if second is not run else {}
    for row in rows:
        row["a"], row["b"] = a, b
        row["b_family"] = theirs[row["key"]][0] if row["key"] in theirs else row["family"]
    gains: dict[str, list[float]] = {}
    for row in rows:
        gains.setdefault(row["family"], []).append(row["first"] - row["second"])
    shared = len(left.keys() & right.keys())
    facts = [
        Fact("instances that both were graded on", len(rows), "count"),
        Fact("families", len(gains), "count"),
        Fact("left out: a grade or the question is missing", shared - len(rows), "count"),
        Fact(f"A passes ({a})", _share(rows, "first"), "share"),
        Fact(f"B passes ({b})", _share(rows, "second"), "share"),
        Fact("only A passes", sum(row["first"] > row["second"] for row in rows), "count"),
        Fact("only B passes", sum(row["first"] < row["second"] for row in rows), "count"),
    ]
    if gains:
        interval = cluster_bootstrap(gains)
        said = f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
        facts.append(Fact("A - B", said + ("" if interval.excludes_zero else " (may be chance)")))
    yield Facts("In short", facts)
    yield _table(rows, run.family_names, "" if second is run else second.source.base)


def _share(rows: list[Row], side: str) -> float | None:
    return sum(row[side] for row in rows) / len(rows) if rows else None


def asked_of(run: Run, expert: str) -> dict[str, tuple[str, Item]]:
    """Instance hash -> family and question, of what an expert was asked."""
    families = run.rows(
        "SELECT family FROM skills WHERE expert = ?1 UNION "
        "SELECT family FROM finals WHERE expert = ?1",
        expert,
    )
    return asked_by_hash(run.store, (run.store.family(row["family"]) for row in families))


def pairs(
    asked: Mapping[str, tuple[str, Item]], left: Mapping[str, Row], right: Mapping[str, Row]
) -> list[Row]:
    """Both sides of what both were graded on; the rows that differ first, A's gains before B's."""
    rows = []
    for key, (family, item) in asked.items():
        if key not in left or key not in right:
            continue
        first, second = left[key], right[key]
        if first["passed"] is None or second["passed"] is None:
            continue
        rows.append(
            {
                "key": key,
                "family": family,
                "instance": item.instance,
                "question": item.instructions,
                "reference": item.reference,
                "first": bool(first["passed"]),
                "first_said": first["extracted"],
                "first_text": first["text"],
                "second": bool(second["passed"]),
                "second_said": second["extracted"],
                "second_text": second["text"],
            }
        )
    rows.sort(key=lambda row: (row["first"] == row["second"], row["second"]))
    return rows


def _table(rows: list[Row], names: Mapping[str, str], elsewhere: str) -> Table:
    """Pairs; `elsewhere` is the address of the other run, "" for the same."""
    here = "answers?family={family}&instance={instance}&expert={a}"
    there = f"{elsewhere}answers?family={{b_family}}&instance={{instance}}&expert={{b}}"
    return Table(
        "pairs",
        "Instance by instance",
        [
            Column("question", "question", to="answers?family={family}&instance={instance}"),
            Column("reference", "a right answer", "code"),
            Column("first", "A", "verdict", here),
            Column("first_said", "A's answer", "code"),
            Column("second", "B", "verdict", there),
            Column("second_said", "B's answer", "code"),
            Column("first_text", "A's whole reply", "code"),
            Column("second_text", "B's whole reply", "code"),
            Column("family", "family", to="tasks/{family}", called=names),
        ],
        rows,
        note="What differs stands first. The interval draws whole families, since instances of one "
        "rise and fall together.",
    )
