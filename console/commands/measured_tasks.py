"""What was answered to each task of an evaluation: which tasks were solved, and by what answer."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.stories.telling import mark, one_line

if TYPE_CHECKING:
    from agents.evaluation.rows import Row, RunRows
    from agents.evaluation.tasks import Task

FEW_TASKS = 30
"""Tasks up to which each is shown; more are in the JSON."""
_QUESTION, _ANSWER, _SAID = 60, 24, 3
"""Characters of a question and of an answer, and answers of a force, that are shown."""
_FIRST = ("force", "best_expert", "best_seed")
_JSON = "--json (`items` of `runs`)"


def items_of(run: RunRows, tasks: Mapping[str, Task]) -> list[dict[str, Any]]:
    """Each task with what every row made of it, in the order of the tasks.

    Args:
        run: what was measured.
        tasks: by id; those that were answered elsewhere are not known.
    """
    return [
        {
            "task": name,
            "generator": generator,
            "question": tasks[name].instructions if name in tasks else None,
            "reference": tasks[name].answer if name in tasks else None,
            "rows": [_made_of(row, name) for row in run.rows.values()],
        }
        for name, generator in run.clusters.items()
    ]


def _made_of(row: Row, task: str) -> dict[str, Any]:
    answers = []
    # Where answers were made elsewhere, who gave them is all that is known.
    for place, sheet in enumerate(row.sheets):
        answer = sheet[task].answer
        answers.append(
            {
                "expert": row.experts[place],
                "temperature": row.temperatures[place],
                "answer": None if answer is None else answer.extracted,
                "passed": sheet[task].passed,
            }
        )
    return {
        "name": row.name,
        "n": row.n,
        "solved": row.solved[task],
        "best_of_n": {method: right[task] for method, right in row.chosen.items()},
        "answers": answers,
    }


def show_items(items: list[dict[str, Any]], console: Console) -> None:
    """A row for each task where they are few: who solves it, and what the largest force said."""
    if len(items) > FEW_TASKS:
        said = f"which tasks were solved, and by which answers: {_JSON}"
        console.print(said, style="dim", highlight=False)
        return
    # The rows that most will look for, and as many others as there is room for.
    rows = sorted(items[0]["rows"], key=lambda row: row["name"] not in _FIRST)
    letters = dict(
        zip(string.ascii_uppercase, rows[: max(console.width - 50, 8) // 2], strict=False)
    )
    force = max((row for row in rows if row["name"] == "force"), key=_size, default=rows[0])
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column("task", overflow="fold", ratio=3)
    table.add_column(" ".join(letters), no_wrap=True)
    if known := items[0]["question"] is not None:
        table.add_column("question", ratio=6)
        table.add_column("reference", ratio=3)
        table.add_column(f"said by {_called(force)}", ratio=5)
    for item in items:
        made = {(row["name"], row["n"]): row for row in item["rows"]}
        solved = [made[row["name"], row["n"]]["solved"] for row in letters.values()]
        cells: list[str | Text] = [Text(item["task"]), Text(" ").join(map(mark, solved))]
        if known:
            cells += [Text(one_line(item["question"], _QUESTION))]
            cells += [Text(one_line(item["reference"], _ANSWER))]
            cells += [_said(made[force["name"], force["n"]]["answers"])]
        table.add_row(*cells)
    console.print()
    console.print(table)
    named = ", ".join(f"{letter} {_called(row)}" for letter, row in letters.items())
    left = len(rows) - len(letters)
    more = f", and {left} more rows" if left else ""
    legend = f"✓ solved by at least one answer, ✗ not; {named}{more}. All answers: {_JSON}"
    console.print(Text(legend, "dim"))


def _size(row: dict[str, Any]) -> int:
    return int(row["n"])


def _called(row: dict[str, Any]) -> str:
    return f"{row['name']} of {row['n']}" if row["n"] > 1 else str(row["name"])


def _said(answers: list[dict[str, Any]]) -> Text:
    """Different answers with their verdicts, the most frequent first."""
    often = Counter((each["answer"] or "", each["passed"]) for each in answers)
    parts = [
        Text.assemble(
            mark(passed),
            " ",
            one_line(answer, _ANSWER) or "(nothing)",
            f" ({count} times)" if count > 1 else "",
        )
        for (answer, passed), count in often.most_common(_SAID)
    ]
    if len(often) > _SAID:
        parts.append(Text(f"and {len(often) - _SAID} more", "dim"))
    return Text("\n").join(parts)
