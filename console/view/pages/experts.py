"""Experts: the archive and the history, one of them, and the winner's path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from console.errors import NotFoundError
from console.stories.expert import GAINS
from console.view.matrix import SkillMatrix, latest_archive
from console.view.page import (
    Choice,
    Column,
    Fact,
    Facts,
    Figure,
    Form,
    Links,
    Page,
    Query,
    Row,
    Section,
    Table,
    Text,
    at,
)
from console.view.pages.lineage import Tree, lineage_figure, path
from console.view.pages.recipe import mix_table, parameters
from console.view.source import Run
from console.view.svg.charts import Line, line_chart
from evolution.selection.dominance import UNDOMINATED

_EXPERTS = """
SELECT id, genome_id, generation, birth, json_extract(record, '$.operator') AS operator,
    json_extract(record, '$.parents') AS parents
FROM experts ORDER BY generation, birth, id
"""
_LATEST_SEEN = """
SELECT expert, rank, fitness, novelty, MAX(generation) AS last, COUNT(*) AS generations
FROM archive_entries GROUP BY expert
"""
"""With a single MAX, SQLite takes the other columns from the row of the maximum."""


def expert_rows(run: Run, matrix: SkillMatrix) -> list[Row]:
    """A row for each expert that was ever kept."""
    seen = {row["expert"]: row for row in run.rows(_LATEST_SEEN)}
    archive = latest_archive(run)
    newest = run.value("SELECT MAX(generation) FROM archives")
    rows = run.rows(_EXPERTS)
    everybody = matrix.rows(archive)
    graded = (matrix.asked > 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = np.nansum(matrix.rates, axis=1) / graded
    for row in rows:
        last = seen.get(row["id"])
        row["parents"] = json.loads(row["parents"] or "[]")
        present = last is not None and last["last"] == newest
        row["rank"] = last["rank"] + 1 if last and present else None
        row["fitness"] = last["fitness"] if last else None
        row["novelty"] = _novelty(last["novelty"]) if last else None
        row["generations"] = last["generations"] if last else 0
        place = matrix.row_of[row["id"]]
        row["graded"] = int(graded[place])
        row["rate"] = float(means[place]) if row["graded"] else None
        row["alone"] = len(matrix.alone(place, everybody)) if present else None
    return rows


def _novelty(novelty: float) -> float | None:
    return None if novelty == UNDOMINATED else novelty


def experts(run: Run, query: Query, rest: str) -> Page:
    """The archive first, then everybody who was ever bred."""
    rows = expert_rows(run, SkillMatrix.of(run))
    operators = sorted({row["operator"] for row in rows})
    births = sorted({row["generation"] for row in rows})
    found = [row for row in rows if _fits(row, query)]
    form = Form(
        [
            Choice("q", "Search", query.get("q", "")),
            Choice(
                "among",
                "Among",
                query.get("among", ""),
                [("", "all"), ("archive", "the archive"), ("kept", "ever in an archive")],
                closed=True,
            ),
            Choice(
                "operator",
                "Operator",
                query.get("operator", ""),
                [("", "any"), *((name, name) for name in operators)],
            ),
            Choice(
                "born",
                "Generation",
                query.get("born", ""),
                [("", "any"), *((str(n), str(n)) for n in births)],
            ),
        ]
    )
    table = Table(
        "experts",
        "Experts",
        [
            Column("id", "expert", to="experts/{id}"),
            Column("rank", "rank", "count"),
            Column("fitness", "fitness", "share"),
            Column("novelty", "novelty", "number"),
            Column("rate", "pass rate", "share"),
            Column("graded", "families", "count"),
            Column("alone", "solves alone", "count"),
            Column("operator", "operator"),
            Column("parents", "parents", "names", to="experts/{}"),
            Column("generation", "generation", "count"),
            Column("generations", "archives", "count"),
        ],
        found,
        order="rank",
        note="Rank: the order in which selection kept them. Fitness: mean pass rate on the pool "
        "of its time, shrunk and chance taken off. Novelty: how far "
        "it can do what the nearest fitter experts cannot, 0 to 100; nobody dominates an expert "
        "without one. Both are of the last archive that an expert was in; a rank stands where "
        "that is the present one. Solves alone: families of which it passes more than half and no "
        "other of the archive does.",
    )
    more = Links(
        "More",
        [("lineage", "Lineage"), ("skills", "Skill matrix"), ("compare", "Compare two experts")],
    )
    return Page("Experts", [form, table, more])


def _fits(row: Row, query: Query) -> bool:
    if query.get("among") == "archive" and row["rank"] is None:
        return False
    if query.get("among") == "kept" and not row["generations"]:
        return False
    if query.get("operator") and row["operator"] != query["operator"]:
        return False
    if query.get("born") and str(row["generation"]) != query["born"]:
        return False
    text = " ".join([row["id"], row["operator"], *row["parents"]]).casefold()
    return all(word in text for word in query.get("q", "").casefold().split())


def expert(run: Run, query: Query, rest: str) -> Page:
    """One expert: where it came from, what it passes, what it alone passes, how it fared."""
    if run.row("SELECT id FROM experts WHERE id = ?", rest) is None:
        raise NotFoundError(f"the run has no expert {rest!r}")
    record = run.store.expert(rest)
    matrix = SkillMatrix.of(run)
    tree = Tree.of(run)
    way = path(tree, rest, matrix)
    facts = [
        Fact("operator", record.operator),
        Fact("generation", record.generation, "count"),
        Fact("genome", record.genome_id, "code"),
        *_figures_of(run, matrix, rest),
        *parameters(record),
    ]
    sections: list[Section] = [Facts("Expert", facts), *_relatives(tree, rest)]
    if len(way) > 1:
        sections += [
            lineage_figure(run, tree.ancestors(rest), "Its ancestors", tree.steps(rest, matrix)),
            path_table(run, way),
        ]
    sections += [mix_table(run, tree, record), *_fared(run, rest), _skills(run, matrix, rest)]
    missing = [
        event.payload
        for event in run.store.events("missing")
        if isinstance(event.payload, dict) and event.payload.get("expert") == rest
    ]
    if missing:
        columns = [
            Column("family", "family", to="tasks/{family}", called=run.family_names),
            Column("reason", "why"),
        ]
        sections.append(Table("missing", "What could not be graded", columns, missing))
    sections += _gibberish(run, rest)
    return Page(rest, sections, crumbs=[("experts", "Experts")])


def _figures_of(run: Run, matrix: SkillMatrix, name: str) -> Iterator[Fact]:
    [row] = [each for each in expert_rows(run, matrix) if each["id"] == name]
    yield Fact("rank in the archive", row["rank"], "count")
    yield Fact("fitness, when it was last selected", row["fitness"], "share")
    yield Fact("mean pass rate", row["rate"], "share")
    yield Fact("graded on", row["graded"], "count")
    yield Fact("archives that it was in", row["generations"], "count")
    yield Fact("solves as the only one of the archive", row["alone"], "count")


def _relatives(tree: Tree, name: str) -> Iterator[Section]:
    if parents := tree.parents[name]:
        yield Links("Parents", [(at("experts", parent), parent) for parent in parents])
    if children := tree.children(name):
        yield Links("Children", [(at("experts", child), child) for child in children])
    yield Links(
        "More",
        [
            (at("answers", expert=name), "Its answers"),
            (at("compare", a=name), "Compare it with another"),
        ],
    )


def path_table(run: Run, way: Sequence[Row]) -> Table:
    """From a seed to an expert, through the fitter parent of each."""
    return Table(
        "path",
        "How it came about",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("operator", "operator"),
            Column("with", "with", "names", to="experts/{}"),
            Column("rate", "pass rate", "share"),
            Column("gained", "families gained", "names", "tasks/{}", run.family_names),
            Column("lost", "families lost", "names", "tasks/{}", run.family_names),
            Column("mix", "coefficients"),
        ],
        way,
        note=f"Each step from the parent that passes more, compared with all parents: {GAINS}.",
    )


def _fared(run: Run, name: str) -> Iterable[Section]:
    rows = run.rows(
        "SELECT generation, rank + 1 AS rank, fitness, novelty FROM archive_entries "
        "WHERE expert = ? ORDER BY generation",
        name,
    )
    for row in rows:
        row["novelty"] = _novelty(row["novelty"])
    if len(rows) > 1:
        points = [(row["generation"], row["fitness"]) for row in rows]
        chart = line_chart("Its fitness", [Line("fitness", points)], "generation", whole=True)
        yield Figure("Fitness by generation", chart)
    yield Table(
        "archives",
        "In which archives it was",
        [
            Column("generation", "generation", "count"),
            Column("rank", "rank", "count"),
            Column("fitness", "fitness", "share"),
            Column("novelty", "novelty", "number"),
        ],
        rows,
    )


def _skills(run: Run, matrix: SkillMatrix, name: str) -> Table:
    row = matrix.rows([name])[0]
    others = matrix.rows(latest_archive(run))
    alone = set(matrix.alone(row, others))
    means = matrix.mean_by_family(others)
    status = {row["id"]: row["status"] for row in run.rows("SELECT id, status FROM families")}
    rows = [
        {
            "family": family,
            "name": run.family_names[family],
            "status": status[family],
            "rate": float(matrix.rates[row, place]),
            "passes": int(matrix.passes[row, place]),
            "asked": int(matrix.asked[row, place]),
            "archive": None if np.isnan(means[place]) else float(means[place]),
            "alone": "alone" if family in alone else "",
            "expert": name,
        }
        for place, family in enumerate(matrix.families)
        if matrix.asked[row, place]
    ]
    return Table(
        "skills",
        "What it passes",
        [
            Column("name", "family", to="tasks/{family}"),
            Column("rate", "pass rate", "share"),
            Column("passes", "passes", "count"),
            Column("asked", "of", "count", "answers?family={family}&expert={expert}"),
            Column("archive", "archive's mean", "share"),
            Column("alone", "solves it"),
            Column("status", "status"),
        ],
        rows,
        order="-rate",
    )


def _gibberish(run: Run, name: str) -> Iterable[Section]:
    for event in run.store.events("gibberish"):
        if isinstance(event.payload, dict) and event.payload.get("expert") == name:
            yield Text("Its replies are gibberish", str(event.payload.get("reason", "")))
