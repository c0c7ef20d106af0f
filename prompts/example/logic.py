"""The oldest: who is the oldest of a few people, each compared with one other."""

from __future__ import annotations

import itertools
import random
from typing import Any

Task = dict[str, Any]
NAMES = ("Ann", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack")
COUNTS = (2, 3, 4, 6)


class TaskFamily:
    """Each level has more people; the answer is a name."""

    levels = 4

    @staticmethod
    def get_tasks(seed: int = 0, level: int = 1) -> dict[str, Task]:
        """Two groups, the oldest first; the same seed and level always give the same ones."""
        rng = random.Random(f"{seed}/{level}")
        return {key: TaskFamily._group(rng, COUNTS[level - 1]) for key in ("1", "2")}

    @staticmethod
    def _group(rng: random.Random, count: int) -> Task:
        people = rng.sample(NAMES, count)
        said = []
        for older, younger in itertools.pairwise(people):
            pair = (f"{older} is older than {younger}.", f"{younger} is younger than {older}.")
            said.append(rng.choice(pair))
        rng.shuffle(said)
        return {"people": people, "said": said}

    @staticmethod
    def get_instructions(t: Task) -> str:
        """What is said, and the question."""
        return f"{' '.join(t['said'])} Who is the oldest? Give the name alone."

    @staticmethod
    def reference(t: Task) -> str:
        """The name of the oldest."""
        return str(t["people"][0])

    @staticmethod
    def wrong(t: Task) -> list[str]:
        """The other names."""
        return [str(name) for name in t["people"][1:]]

    @staticmethod
    def score(t: Task, submission: str) -> float:
        """1.0 for the right name alone."""
        return float(submission.strip(" \n.'\"").casefold() == t["people"][0].casefold())
