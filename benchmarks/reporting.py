"""What the tables of all benchmarks have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from memory.errors import AcdcError


def run_as_command(main: Callable[[], int]) -> NoReturn:
    """End this process with the status of a benchmark that was given folders of its user.

    What is wrong with them is one line on standard error, as of `acdc`.
    """
    try:
        sys.exit(main())
    except AcdcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def show_progress(progress: str) -> None:
    """A line of progress, apart from the report."""
    print(progress, file=sys.stderr, flush=True)


def heading(report: dict[str, Any]) -> str:
    """On what it ran."""
    machine = report["machine"]
    return f"{machine['processor']}, {machine['cores']} cores"


def goal_lines(report: dict[str, Any]) -> list[str]:
    """A line for each goal, and whether it is met."""
    return [
        f"{'met' if goal['met'] else 'MISSED'}: {goal['name']}: {goal['value']} {goal['unit']} "
        f"(goal {goal['goal']})"
        for goal in report["goals"]
    ]
