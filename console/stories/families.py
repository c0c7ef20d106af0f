"""Who solves what: a row for each family, with the pass rates of archive and seeds."""

from __future__ import annotations

import string
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.stories.family import experts_shown
from console.stories.names import labels
from console.stories.telling import numbered, say
from memory.records import Skill
from memory.store import RunStore

_NAME, _STATE, _SOLVED, _OF, _GAPS = 22, 7, 9, 2, 8
"""Widths of columns that are not rates, the least for a name, and what is between them."""
_COUNTED = 9
"""Answers of a family up to which they are counted, not shown in tenths."""


def read_families(store: RunStore) -> dict[str, Any]:
    """All families, the hardest first: those that grade now, then the others.

    To solve one is to pass more than half of the instances that it asked last (of a closed
    family, both).
    """
    experts = [expert.id for expert in experts_shown(store)]
    skills = {name: store.skill_counts(name) for name in experts}
    called, rows = labels(store.families()), []
    for family in store.families():
        graded = {name: skills[name][family.id] for name in experts if family.id in skills[name]}
        rows.append(
            {
                "family": family.id,
                "name": called[family.id],
                "state": store.family_status(family.id),
                "level": family.level,
                "levels": family.levels,
                "rate": _mean(graded),
                "passes": {name: [skill.passes, skill.asked] for name, skill in graded.items()},
                "solved_by": [name for name, skill in graded.items() if skill.passed],
            }
        )
    rows.sort(key=lambda row: (row["state"] != "active", row["rate"] is None, row["rate"] or 0.0))
    return {"experts": experts, "rows": rows}


def _mean(graded: dict[str, Skill]) -> float | None:
    if not graded:
        return None
    return round(sum(skill.rate for skill in graded.values()) / len(graded), 4)


def tell_families(
    found: dict[str, Any], console: Console, limit: int | None = None, offset: int = 0
) -> None:
    """A table that fits the terminal; a letter stands for each expert.

    Args:
        found: as read.
        console: where to.
        limit: so many rows; None for all.
        offset: rows that are left out before them.
    """
    rows = found["rows"][offset:][:limit]
    rest = console.width - _STATE - _SOLVED - _OF - _GAPS
    experts = found["experts"][: max((rest - _NAME) // 2, 1)]
    letters = (string.ascii_uppercase + string.ascii_lowercase)[: len(experts)]
    experts = experts[: len(letters)]
    counted = all(asked <= _COUNTED for row in rows for _, asked in row["passes"].values())
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    # Names are not cut: they are what `--family` takes.
    table.add_column("family", max_width=max(rest - 2 * len(experts), _NAME), overflow="fold")
    table.add_column("state", width=_STATE)
    table.add_column(" ".join(letters), no_wrap=True)
    table.add_column("of", no_wrap=True)
    table.add_column("solved by", overflow="ellipsis", no_wrap=True, min_width=_SOLVED)
    for row in rows:
        passes = row["passes"]
        cells = Text(" ").join(_cell(passes.get(name), counted) for name in experts)
        table.add_row(Text(row["name"]), row["state"], cells, _asked(passes), _solved(row))
    console.print(table)
    legend = ", ".join(f"{x} {name}" for x, name in zip(letters, experts, strict=True))
    more = len(found["experts"]) - len(experts)
    say(console, f"\n{legend}" + (f", and {more} more (--json)" if more > 0 else ""))
    what = "how many" if counted else "how many tenths"
    say(
        console,
        f"{what} of its latest instances (column `of`) an expert passes: · none, # all, blank not "
        "asked. Solved: more than half. Families that grade now (active) stand first, then the "
        "others (held: waits while a harder child is tried), of each the hardest first. The story "
        "of one: --family NAME, or a part of it",
        style="dim",
    )
    for line in summary_lines(found["rows"]):
        say(console, line)
    if note := numbered(rows, len(found["rows"]), offset, "families"):
        say(console, note, style="dim")


def _cell(counts: list[int] | None, counted: bool) -> Text:
    if counts is None:
        return Text(" ")
    passes, asked = counts
    if passes in (0, asked):
        return Text("#", "green") if passes else Text("·", "dim")
    shown = passes if counted else min(max(round(10 * passes / asked), 1), 9)
    return Text(str(shown), "green" if 2 * passes > asked else "yellow")


def _asked(passes: dict[str, list[int]]) -> str:
    """How many instances the experts were asked, those in the archive and those before alike."""
    asked = sorted({counts[1] for counts in passes.values()})
    return f"{asked[0]}-{asked[-1]}" if len(asked) > 1 else "".join(map(str, asked))


def _solved(row: dict[str, Any]) -> Text:
    names = row["solved_by"]
    if not row["passes"]:
        return Text("not asked", "dim")
    if not names:
        return Text("nobody", "red")
    if len(names) == 1:
        return Text(f"only {names[0]}", "yellow")
    return Text("everybody" if len(names) == len(row["passes"]) else f"{len(names)} experts")


def summary_lines(rows: list[dict[str, Any]]) -> list[str]:
    """How many active families nobody solves, the hardest one, and who alone solves something."""
    active = [row for row in rows if row["state"] == "active" and row["passes"]]
    if not active:
        return []
    nobody = [row for row in active if not row["solved_by"]]
    lines = [f"{len(nobody)} of {len(active)} active families are solved by nobody"]
    hardest = min(active, key=lambda row: row["rate"])
    lines.append(
        f"the hardest active family: {hardest['name']}, passed {hardest['rate']:.0%} of the time"
    )
    sole: dict[str, int] = {}
    for row in active:
        if len(row["solved_by"]) == 1:
            sole[row["solved_by"][0]] = sole.get(row["solved_by"][0], 0) + 1
    if sole:
        ordered = sorted(sole.items(), key=lambda item: -item[1])
        lines.append(
            "solve an active family as the only one of archive and seeds: "
            + ", ".join(f"{name} of {count}" for name, count in ordered)
        )
    return lines
