"""First of a list: which of a few words a dictionary has first."""

from __future__ import annotations

import random
from typing import Any

Task = dict[str, Any]
WORDS = (
    "apple", "bread", "candle", "desk", "engine", "forest", "garden", "hammer", "island",
    "jacket", "kettle", "ladder", "mirror", "needle", "orange", "pencil", "queen", "river",
    "saddle", "table", "umbrella", "valley", "window", "yellow", "acorn", "bridge", "castle",
    "donkey", "eagle", "finger", "guitar", "honey", "insect", "jungle", "knight", "lemon",
    "market", "nurse", "ocean", "paper"
)  # fmt: skip
COUNTS = (3, 4, 6, 9)


class TaskFamily:
    """Each level has longer lists; the answer is one of the words."""

    levels = 4

    @staticmethod
    def get_tasks(seed: int = 0, level: int = 1) -> dict[str, Task]:
        """Two lists; the same seed and level always give the same ones."""
        rng = random.Random(f"{seed}/{level}")
        return {key: {"words": rng.sample(WORDS, COUNTS[level - 1])} for key in ("1", "2")}

    @staticmethod
    def get_instructions(t: Task) -> str:
        """The list and the question."""
        listed = ", ".join(t["words"])
        return f"Which of these words comes first in a dictionary: {listed}? Give that word alone."

    @staticmethod
    def reference(t: Task) -> str:
        """The right word."""
        return str(min(t["words"]))

    @staticmethod
    def wrong(t: Task) -> list[str]:
        """The other words."""
        return [word for word in t["words"] if word != min(t["words"])]

    @staticmethod
    def score(t: Task, submission: str) -> float:
        """1.0 for the right word alone."""
        return float(submission.strip(" \n.'\"").casefold() == min(t["words"]))
