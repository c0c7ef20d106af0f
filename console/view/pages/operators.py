"""Which operators bring something: children, survivors and gain, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from agents.evaluation.intervals import Interval, cluster_bootstrap
from console.view.matrix import SkillMatrix
from console.view.page import Column, Figure, Page, Query, Row, Table
from console.view.source import Run
from console.view.svg.charts import Span, span_chart

_Z = 1.96
_MAKING = """
SELECT json_extract(attributes, '$."acdc.expert"') AS expert,
    SUM(ended_ns - started_ns) / 1e9 AS seconds
FROM spans WHERE kind IN ('merge', 'lesson') GROUP BY expert
"""
_KEPT = "SELECT expert, generation FROM archive_entries"


def operators(run: Run, query: Query, rest: str) -> Page:
    """A row for each operator, and one for each child."""
    children = child_rows(run, SkillMatrix.of(run))
    rows = by_operator(children)
    spans = [
        Span(row["operator"], row["gain"], row["gain_low"], row["gain_high"])
        for row in rows
        if row["gain"] is not None
    ]
    figures = [Figure("Gain over the better parent", span_chart("Gain by operator", spans))]
    return Page("Operators", [_table(rows), *(figures if spans else []), _child_table(children)])


def child_rows(run: Run, matrix: SkillMatrix) -> list[Row]:
    """Every expert that was bred: whether it survived, and what it gained over its parents.

    It survived if it was in the archive after the selection of its own generation, as `acdc status`
    has it; None if that is still to come.
    Gain is the mean over the families on which child and parents were all graded of the child's
    pass rate minus that of the parent that passes more of them.
    """
    kept = {(row["generation"], row["expert"]) for row in run.rows(_KEPT)}
    newest = run.value("SELECT COALESCE(MAX(generation), -1) FROM archives")
    tokens = run.ledger.by_genome()
    making = {row["expert"]: row["seconds"] for row in run.rows(_MAKING)}
    rows = run.rows(
        "SELECT id, genome_id, generation, json_extract(record, '$.operator') AS operator, "
        "json_extract(record, '$.parents') AS parents FROM experts ORDER BY generation, birth, id"
    )
    found = []
    for row in rows:
        parents = json.loads(row["parents"] or "[]")
        if not parents:
            continue
        gain, families = _gain(matrix, matrix.row_of[row["id"]], matrix.rows(parents))
        found.append(
            {
                "expert": row["id"],
                "operator": row["operator"],
                "parents": parents,
                "generation": row["generation"],
                "survived": (row["generation"], row["id"]) in kept
                if row["generation"] <= newest
                else None,
                "gain": gain,
                "families": families,
                "tokens": tokens.get(row["genome_id"], 0),
                "making": making.get(row["id"]),
            }
        )
    return found


def _gain(matrix: SkillMatrix, child: int, parents: Sequence[int]) -> tuple[float | None, int]:
    rates = matrix.rates[[child, *parents]]
    shared = rates[:, ~np.isnan(rates).any(axis=0)]
    if not parents or not shared.shape[1]:
        return None, 0
    means = shared.mean(axis=1)
    return float(means[0] - means[1:].max()), shared.shape[1]


def by_operator(children: Iterable[Row]) -> list[Row]:
    """Counts, share of survivors and mean gain of each operator, with 95 % intervals."""
    groups: dict[str, list[Row]] = {}
    for child in children:
        groups.setdefault(child["operator"], []).append(child)
    rows = []
    for operator, members in groups.items():
        selected = [child["survived"] for child in members if child["survived"] is not None]
        survivors = sum(selected)
        low, high = wilson(survivors, len(selected))
        making = [child["making"] for child in members if child["making"] is not None]
        tokens = sum(child["tokens"] for child in members)
        gains = {child["expert"]: [child["gain"]] for child in members if child["gain"] is not None}
        interval = _interval(tuple(gain for [gain] in gains.values())) if gains else None
        rows.append(
            {
                "operator": operator,
                "children": len(members),
                "selected": len(selected),
                "survivors": survivors,
                "survival": survivors / len(selected) if selected else None,
                "survival_low": low,
                "survival_high": high,
                "compared": len(gains),
                "gain": interval.mean if interval else None,
                "gain_low": interval.low if interval else None,
                "gain_high": interval.high if interval else None,
                "tokens": tokens,
                "making": sum(making) if making else None,
                "per_survivor": round(tokens / survivors) if survivors else None,
                "best": max((gain for [gain] in gains.values()), default=None),
            }
        )
    return rows


@lru_cache(maxsize=256)
def _interval(gains: tuple[float, ...]) -> Interval:
    """Of a mean over children; a bootstrap takes its time, and few operators have new children."""
    return cluster_bootstrap({str(place): [gain] for place, gain in enumerate(gains)})


def wilson(successes: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927): of 3 of 4, (0.30, 0.95)."""
    if not of:
        return 0.0, 1.0
    share = successes / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    scale = 1 + _Z**2 / of
    low, high = (middle - spread) / scale, (middle + spread) / scale
    # Of none and of all the share itself is an end, which rounding would miss.
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def _table(rows: Sequence[Row]) -> Table:
    return Table(
        "operators",
        "Operators",
        [
            Column("operator", "operator", to="experts?operator={operator}"),
            Column("children", "children", "count"),
            Column("selected", "whose generation was selected", "count", apart=True),
            Column("survivors", "survivors", "count"),
            Column("survival", "share", "share"),
            Column("survival_low", "from", "share"),
            Column("survival_high", "to", "share"),
            Column("compared", "compared", "count"),
            Column("gain", "mean gain", "gain"),
            Column("gain_low", "from", "gain"),
            Column("gain_high", "to", "gain"),
            Column("best", "best gain", "gain"),
            Column("making", "merges and lessons", "seconds"),
            Column("tokens", "tokens", "count"),
            Column("per_survivor", "for each survivor", "count"),
        ],
        rows,
        order="-children",
        note="Survivors were in the archive after the selection of their own generation; the share "
        "leaves out children that it is still to come for. Gain: mean pass rate of a child minus "
        "that of its better parent, on families graded for all of them. Intervals hold 95 %: "
        "Wilson's for shares, a bootstrap over children for gains; of few children it says little. "
        "Costs: time of the merges and lessons that made the children, and tokens that the "
        "children read and wrote, the finals included.",
    )


def _child_table(rows: Sequence[Row]) -> Table:
    return Table(
        "children",
        "Children",
        [
            Column("expert", "expert", to="experts/{expert}"),
            Column("operator", "operator"),
            Column("parents", "parents", "names", "experts/{}"),
            Column("generation", "generation", "count"),
            Column("survived", "survived", "yes"),
            Column("gain", "gain", "gain"),
            Column("families", "families", "count"),
            Column("making", "merge or lesson", "seconds"),
            Column("tokens", "tokens", "count"),
        ],
        rows,
        order="-gain",
    )
