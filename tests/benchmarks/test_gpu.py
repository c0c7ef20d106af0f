"""The GPU benchmark's merge and lesson, taken through the same lines on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.families import random_family
from benchmarks.gpu_learning import distance, goals, learned
from evolution.bank.anchors import Anchor
from evolution.bank.task_vectors import LowRank


@pytest.mark.slow
def test_merge_and_lesson_are_made_again_and_compared() -> None:
    with random_family("tiny", 2, 4) as bank:
        rows = learned("tiny", bank, "cpu", compare=True, steps=1)
    assert [row["learning"] for row in rows] == ["merge", "lesson"]
    assert all(row["same_bits"] and row["apart"] == 0.0 for row in rows)
    assert all(row["planned_bytes"] > 0 for row in rows)
    assert all(goal["met"] for goal in goals(rows))


def test_goals_see_other_bits_too_much_memory_and_a_distance() -> None:
    row = {"learning": "lesson", "family": "tiny", "same_bits": False, "apart": 0.5}
    row |= {"peak_bytes": 300, "planned_bytes": 100}
    assert [goal["met"] for goal in goals([row])] == [False, False, False]


def test_distance_is_relative_to_the_length() -> None:
    one = Anchor("a", "1", {"w": LowRank(torch.ones(2, 1), torch.ones(1, 3), 1.0)})
    other = replace(one, vectors={"w": LowRank(torch.ones(2, 1), torch.ones(1, 3), 2.0)})
    assert distance([one], [other]) == pytest.approx(0.5)
    assert distance([one], [replace(one, vectors={})]) == float("inf")
