"""Passengers on a bus: keep a running count over a few stops."""

from __future__ import annotations

import re
from typing import Any

RIDES: dict[str, dict[str, Any]] = {
    "1": {"line": "12", "stops": [[7, 0], [5, 3], [2, 6], [0, 1]]},
    "2": {"line": "40", "stops": [[9, 0], [4, 8], [6, 2], [3, 7]]},
}


def passengers(stops: list[list[int]]) -> int:
    """People on the bus after the last stop."""
    return sum(on - off for on, off in stops)


class TaskFamily:
    """Two rides; each answer is one whole number."""

    @staticmethod
    def get_tasks() -> dict[str, dict[str, Any]]:
        """The two rides."""
        return RIDES

    @staticmethod
    def get_instructions(t: dict[str, Any]) -> str:
        """The ride as a story, and the question."""
        stops = " ".join(
            f"At stop {number}, {on} get on and {off} get off."
            for number, (on, off) in enumerate(t["stops"], start=1)
        )
        return (
            f"Bus {t['line']} leaves the depot empty. {stops} "
            "How many people are on the bus then? Give one whole number."
        )

    @staticmethod
    def score(t: dict[str, Any], submission: str) -> float:
        """1.0 for the right number, with or without its unit."""
        found = re.fullmatch(r"(-?\d+)(?: people| passengers)?\.?", submission.strip())
        return float(found is not None and int(found.group(1)) == passengers(t["stops"]))
