"""The families as points: near each other where their texts mean alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from console.view.matrix import SkillMatrix, latest_archive
from console.view.page import Choice, Column, Figure, Form, Page, Query, Row, Table
from console.view.pages.tasks import family_rows
from console.view.source import Run
from console.view.svg.draw import COLOURS
from console.view.svg.scatter import Point, scatter
from memory.hashing import text_hash
from memory.records import novelty_text

Vectors = NDArray[np.float32]
_BY = {
    "capability": "capability",
    "field": "field",
    "generator": "generator",
    "generation": "generation",
    "status": "status",
    "solver": "best expert of the archive",
}
_TEXTS = """
SELECT id, json_extract(record, '$.description') AS description,
    json_extract(record, '$.instructions."1"') AS example
FROM families
"""


def embedding(run: Run, query: Query, rest: str) -> Page:
    """The first two principal components of the embeddings that the novelty memory compared."""
    asked = query.get("by", "capability")
    by = asked if asked in _BY else "capability"
    rows = family_rows(run)
    vectors, found = _vectors(run, rows)
    if by == "solver":
        _add_solvers(run, found)
    places, share = principal(vectors)
    for row, (x, y) in zip(found, places.tolist(), strict=True):
        row["x"], row["y"] = x, y
    colours = _colours(found, by)
    points = [
        Point(
            row["x"],
            row["y"],
            colours.get(row[by], "cx"),
            row["name"],
            f"{row['name']} ({by} {row[by] if row[by] not in (None, '') else 'unknown'})",
            run.link("tasks", row["id"]),
        )
        for row in found
    ]
    key = [(colour, str(value)) for value, colour in colours.items()]
    if any(point.colour == "cx" for point in points):
        key.append(("cx", "others"))
    figure = Figure(
        "Families by meaning",
        scatter(f"{len(points)} families by meaning, coloured by {_BY[by]}", points),
        f"The first two principal components; they hold {share:.0%} of the variance. Near points "
        "mean alike, but far ones may be nearer in other directions. Names stand where there is "
        "room; the pointer on a point shows its name.",
        key,
    )
    form = Form([Choice("by", "Colour", asked, list(_BY.items()), closed=True)])
    table = Table(
        "points",
        "The same as a table",
        [
            Column("name", "name", to="tasks/{id}"),
            Column("id", "id", "code", apart=True),
            Column(by, _BY[by]),
            Column("x", "x", "number"),
            Column("y", "y", "number"),
            Column("rate", "pass rate", "share"),
        ],
        found,
        lookup=True,
    )
    missing = len(rows) - len(found)
    lead = f"{missing} families were never embedded." if missing else ""
    return Page("Map of tasks", [form, figure, table], lead, crumbs=[("tasks", "Tasks")])


def _vectors(run: Run, rows: Sequence[Row]) -> tuple[Vectors, list[Row]]:
    """(families, size) what is embedded, and the families that are."""
    embedder = run.value(
        "SELECT embedder FROM embeddings GROUP BY embedder ORDER BY COUNT(*) DESC LIMIT 1"
    )
    texts = {row["id"]: row for row in run.rows(_TEXTS)}
    hashes = {}
    for row in rows:
        text = texts[row["id"]]
        said = row["name"], text["description"], row["capability"], text["example"]
        hashes[row["id"]] = text_hash(novelty_text(*said))
    stored = run.rows("SELECT text, vector FROM embeddings WHERE embedder = ?", embedder)
    known = {each["text"]: np.frombuffer(each["vector"], "<f4") for each in stored}
    found = [row for row in rows if hashes[row["id"]] in known]
    stacked = [known[hashes[row["id"]]] for row in found]
    return np.stack(stacked) if stacked else np.zeros((0, 2), np.float32), found


def principal(vectors: Vectors) -> tuple[Vectors, float]:
    """(n, 2) coordinates on the first two principal components, and their share of the variance.

    The sign of a component is such that its largest entry is positive, so that a run looks the
    same each time.
    """
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2), np.float32), 1.0
    centred = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, [-1, -2]]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    share = float(values[[-1, -2]].sum() / max(values.sum(), 1e-12))
    return centred @ (axes * signs), share


def _add_solvers(run: Run, rows: Sequence[Row]) -> None:
    """Of each family the expert of the archive that passes most of it; the better ranked of two."""
    matrix = SkillMatrix.of(run)
    archive = matrix.rows(latest_archive(run))
    rates = np.nan_to_num(matrix.rates[archive])
    for row in rows:
        column = rates[:, matrix.column_of[row["id"]]]
        best = int(column.argmax()) if len(column) else 0
        solved = len(column) > 0 and column[best] > 0
        row["solver"] = matrix.experts[archive[best]] if solved else None


def _colours(rows: Sequence[Row], by: str) -> dict[object, str]:
    """The values that are seen most often have a colour each."""
    counts = Counter(row[by] for row in rows if row[by] not in (None, ""))
    chosen = [value for value, _ in counts.most_common(COLOURS)]
    return {value: f"c{place}" for place, value in enumerate(sorted(chosen))}
