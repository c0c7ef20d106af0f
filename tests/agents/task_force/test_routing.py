"""What a run's history says about a question, and when it says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.task_force.routing import SkillRouter
from evolution.selection import Standing
from memory.novelty.embedding import Vectors
from memory.records import Voice

ANGLES = {"sums": 0.0, "rivers": 90.0, "add them": 20.0, "a poem": 225.0}


class Compass:
    """An embedder that knows the direction of each text."""

    name = "compass"

    def embed(self, texts: Sequence[str]) -> Vectors:
        angles = np.radians([ANGLES[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _router() -> SkillRouter:
    marks = {
        Voice("a"): {("sums", ""): 1.0, ("rivers", ""): 0.0},
        Voice("b"): {("sums", ""): 0.25, ("rivers", ""): 1.0},
    }
    compass = Compass()
    families = dict(zip(("sums", "rivers"), compass.embed(["sums", "rivers"]), strict=True))
    names = {"sums": "Sums of two", "rivers": "Rivers"}
    return SkillRouter(compass, families, Standing(marks), near=0.4, names=names)


def test_near_families_are_told_with_who_passes_them() -> None:
    router, voices = _router(), [Voice("b"), Voice("a")]
    assert router.knows("add them")
    [near] = router.nearest("add them", voices)
    assert (near.name, round(near.similarity, 2)) == ("Sums of two", 0.94)
    assert list(near.rates.items()) == [("a", 1.0), ("b", 0.25)]


def test_a_question_that_is_like_nothing_is_told_the_nearest_all_the_same() -> None:
    router = _router()
    assert not router.knows("a poem")
    [near] = router.nearest("a poem", [Voice("a")])
    assert near.similarity < 0
    weights = router.weights("a poem", [Voice("a"), Voice("b")])
    assert weights[Voice("b")] > weights[Voice("a")], "by fitness alone"
