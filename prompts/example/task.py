"""Passengers on a bus: keep a running count over a few stops."""

from __future__ import annotations

import random
import re
from typing import Any

Task = dict[str, Any]
STOPS = (1, 2, 3, 5)
MOST_PEOPLE = (15, 15, 30, 60)


def passengers(stops: list[list[int]]) -> int:
    """People on the bus after the last stop."""
    return sum(on - off for on, off in stops)


class TaskFamily:
    """Each level has more stops and larger numbers; the answer is one whole number."""

    levels = 4

    @staticmethod
    def get_tasks(seed: int = 0, level: int = 1) -> dict[str, Task]:
        """Two rides; the same seed and level always give the same ones."""
        rng = random.Random(f"{seed}/{level}")
        return {key: TaskFamily._ride(rng, level) for key in ("1", "2")}

    @staticmethod
    def _ride(rng: random.Random, level: int) -> Task:
        most = MOST_PEOPLE[level - 1]
        aboard = rng.randint(2, most)
        stops = [[aboard, 0]]
        for _ in range(STOPS[level - 1]):
            on, off = rng.randint(1, most), rng.randint(1, aboard)
            stops.append([on, off])
            aboard += on - off
        return {"line": rng.randint(10, 99), "stops": stops}

    @staticmethod
    def get_instructions(t: Task) -> str:
        """The ride as a story, and the question."""
        (first, _), *later = t["stops"]
        stops = " ".join(f"Then {on} get on and {off} get off." for on, off in later)
        return (
            f"Bus {t['line']} is empty. {first} people get on. {stops} "
            "How many people are on the bus now? Give one whole number."
        )

    @staticmethod
    def reference(t: Task) -> str:
        """The right answer, computed."""
        return str(passengers(t["stops"]))

    @staticmethod
    def wrong(t: Task) -> list[str]:
        """Nobody gets off, everybody adds up; a slip of one; the last number."""
        right, stops = passengers(t["stops"]), t["stops"]
        slips = [sum(on for on, _ in stops), right + 1, right - 1, stops[-1][1]]
        return [str(slip) for slip in dict.fromkeys(slips) if slip != right]

    @staticmethod
    def score(t: Task, submission: str) -> float:
        """1.0 for the right number, with or without its unit."""
        found = re.fullmatch(r"(-?\d+)(?: people| passengers)?\.?", submission.strip())
        return float(found is not None and int(found.group(1)) == passengers(t["stops"]))
