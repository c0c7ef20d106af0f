"""The skill matrix as a heat map that sorts, and what each expert alone solves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from console.errors import NotFoundError
from console.view.matrix import SkillMatrix, latest_archive, mean_of
from console.view.page import Choice, Column, Figure, Form, Page, Query, Section, Table, number_in
from console.view.source import Run
from console.view.svg.heatmap import Label, heat_map

EXPERTS, FAMILIES = 40, 80
"""How many a picture shows at once."""


def skills(run: Run, query: Query, rest: str) -> Page:
    """Pass rates of experts on families, by their latest grades."""
    matrix = SkillMatrix.of(run)
    names = run.family_names
    rows = _experts(run, matrix, query)
    columns = _families(run, matrix, query)
    rows, columns = _sorted(matrix, rows, columns, query)
    r, c = _place(query, "row", len(rows), EXPERTS), _place(query, "column", len(columns), FAMILIES)
    shown_rows, shown_columns = rows[r : r + EXPERTS], columns[c : c + FAMILIES]
    sections: list[Section] = [
        _form(query, matrix, names, rows, columns),
        _figure(run, matrix, names, shown_rows, shown_columns, query),
        _alone(run, matrix),
        _rates(matrix, names, shown_rows, shown_columns),
    ]
    lead = (
        f"Experts {r + 1} to {r + len(shown_rows)} of {len(rows)}, families {c + 1} to "
        f"{c + len(shown_columns)} of {len(columns)}."
        if rows and columns
        else ""
    )
    return Page("Skill matrix", sections, lead, crumbs=[("experts", "Experts")])


def _experts(run: Run, matrix: SkillMatrix, query: Query) -> list[int]:
    archive = latest_archive(run)
    match query.get("experts", ""):
        case "all":
            return list(range(len(matrix.experts)))
        case "archive":
            return matrix.rows(archive)
        case _:
            founders = run.rows("SELECT id FROM experts WHERE generation = 0")
            return matrix.rows(dict.fromkeys([*archive, *(row["id"] for row in founders)]))


def _families(run: Run, matrix: SkillMatrix, query: Query) -> list[int]:
    status = query.get("families", "active")
    rows = run.rows("SELECT id, status FROM families ORDER BY seq")
    chosen = [row["id"] for row in rows if status in ("all", row["status"])]
    return [place for place in matrix.columns(chosen) if matrix.asked[:, place].any()]


def _sorted(
    matrix: SkillMatrix, rows: list[int], columns: list[int], query: Query
) -> tuple[list[int], list[int]]:
    """Experts by their rate on all or one of the families, families likewise; else as they are."""
    by_family = matrix.columns([query.get("by_family", "")])
    by_expert = matrix.rows([query.get("by_expert", "")])
    for name, found in (("by_family", by_family), ("by_expert", by_expert)):
        if query.get(name) and not found:
            raise NotFoundError(
                f"no answer is graded of {name.removeprefix('by_')} {query[name]!r}"
            )
    if by_family or query.get("order") == "rate":
        values = matrix.rates[:, by_family] if by_family else matrix.rates[:, columns]
        keys = np.nan_to_num(mean_of(values, axis=1), nan=-1.0)
        rows = sorted(rows, key=lambda row: -keys[row])
    if by_expert or query.get("order") == "rate":
        values = matrix.rates[by_expert] if by_expert else matrix.rates[rows]
        keys = np.nan_to_num(mean_of(values, axis=0), nan=-1.0)
        columns = sorted(columns, key=lambda column: -keys[column])
    return rows, columns


def _place(query: Query, name: str, of: int, step: int) -> int:
    return min(number_in(query.get(name, ""), 0), max(0, of - 1)) // step * step


def _form(
    query: Query,
    matrix: SkillMatrix,
    names: Mapping[str, str],
    rows: Sequence[int],
    columns: Sequence[int],
) -> Form:
    def windows(of: int, step: int) -> list[tuple[str, str]]:
        return [(str(n), f"{n + 1} to {min(n + step, of)}") for n in range(0, max(of, 1), step)]

    def choice(
        name: str,
        label: str,
        options: list[tuple[str, str]],
        default: str = "",
        closed: bool = False,
    ) -> Choice:
        return Choice(name, label, query.get(name, default), options, closed=closed)

    people = [("", "-"), *((matrix.experts[row],) * 2 for row in rows)]
    tasks = [("", "-")]
    tasks += [(name, names[name]) for name in (matrix.families[column] for column in columns)]
    choices = [
        choice(
            "experts",
            "Experts",
            [("", "archive and founders"), ("archive", "archive"), ("all", "everybody")],
            closed=True,
        ),
        choice(
            "families",
            "Families",
            [(word, word) for word in ("active", "held", "retired", "all")],
            "active",
            closed=True,
        ),
        choice(
            "order", "Order", [("", "by rank, by age"), ("rate", "by mean pass rate")], closed=True
        ),
        choice("by_family", "Experts by family", tasks),
        choice("by_expert", "Families by expert", people),
    ]
    if len(rows) > EXPERTS:
        choices.append(choice("row", "Which experts", windows(len(rows), EXPERTS), "0"))
    if len(columns) > FAMILIES:
        choices.append(choice("column", "Which families", windows(len(columns), FAMILIES), "0"))
    return Form(choices)


def _figure(
    run: Run,
    matrix: SkillMatrix,
    names: Mapping[str, str],
    rows: Sequence[int],
    columns: Sequence[int],
    query: Query,
) -> Figure:
    def cell(row: int, column: int) -> tuple[float, str] | None:
        asked = int(matrix.asked[row, column])
        if not asked:
            return None
        return float(matrix.rates[row, column]), f"{matrix.passes[row, column]} of {asked}"

    experts, families = ([*matrix.experts], [*matrix.families])
    svg = heat_map(
        f"Pass rates of {len(rows)} experts on {len(columns)} families",
        [Label(experts[row], experts[row], run.link("experts", experts[row])) for row in rows],
        [
            Label(
                names[families[column]],
                names[families[column]],
                run.link("tasks", families[column]),
            )
            for column in columns
        ],
        [[cell(row, column) for column in columns] for row in rows],
    )
    key = [(f"h{step}", f"{step / 10:.1f}") for step in range(0, 11, 2)]
    key.append(("hx", "not graded"))
    note = "The stronger the colour, the larger the share of instances that an expert passes."
    return Figure("Who passes what", svg, note, key)


def _alone(run: Run, matrix: SkillMatrix) -> Table:
    archive = matrix.rows(latest_archive(run))
    rows = []
    for row in archive:
        families = matrix.alone(row, archive)
        rows.append({"expert": matrix.experts[row], "n": len(families), "families": families})
    return Table(
        "alone",
        "What each solves as the only one of the archive",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("n", "families", "count"),
            Column("families", "which", "names", "tasks/{}", run.family_names),
        ],
        rows,
        order="-n",
        note="Families of which it passes more than half, and no other expert of the archive does.",
    )


def _rates(
    matrix: SkillMatrix, names: Mapping[str, str], rows: Sequence[int], columns: Sequence[int]
) -> Table:
    found = [
        {
            "expert": matrix.experts[row],
            "family": matrix.families[column],
            "name": names[matrix.families[column]],
            "rate": float(matrix.rates[row, column]),
            "passes": int(matrix.passes[row, column]),
            "asked": int(matrix.asked[row, column]),
        }
        for row in rows
        for column in columns
        if matrix.asked[row, column]
    ]
    return Table(
        "rates",
        "The same as a table",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("name", "family", to="answers?family={family}&expert={expert}"),
            Column("family", "family id", "code", apart=True),
            Column("rate", "pass rate", "share"),
            Column("passes", "passes", "count"),
            Column("asked", "of", "count"),
        ],
        found,
        lookup=True,
    )
