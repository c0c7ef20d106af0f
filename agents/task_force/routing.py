"""Who is good at what: the run's own history says it, and no judge is needed."""

from __future__ import annotations

from collections.abc import Mapping

from agents.context import ReadContext
from agents.task_force.field import eligible
from memory.novelty.embedding import Embedder, open_embedder
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.similarity import Vector, nearest
from memory.records import Skills

NEIGHBOURS = 8
SHARPNESS = 4
"""Exponent of a similarity: a family half as similar says a sixteenth."""
PRIOR = 0.1
"""How much the fitness on the whole history counts beside the neighbours."""
_KEPT_QUESTIONS = 1024
"""A server is asked for weeks; neighbours of a question are kept for the votes on it alone."""


class SkillRouter:
    """Estimates who solves questions like this one, from grades on similar families.

    With the families f most similar to the question and their similarities s, an expert's weight is
    (sum s^4 passed(f) + 0.1 fitness) / (sum s^4 + 0.1), over the families on which it was graded:
    far from everything that was ever asked, it is just the fitness.

    Args:
        embedder: of questions.
        families: family -> its unit vector, made by the same embedder.
        skills: expert -> grades on the history.
        neighbours: how many families are looked at.
    """

    def __init__(
        self,
        embedder: Embedder,
        families: Mapping[str, Vector],
        skills: Mapping[str, Skills],
        neighbours: int = NEIGHBOURS,
    ) -> None:
        self._embedder = embedder
        self._families = families
        self._skills = skills
        self._neighbours = neighbours
        self._nearest: dict[str, list[tuple[str, float]]] = {}

    def weights(self, question: str, experts: list[str]) -> dict[str, float]:
        """Expert -> weight in [0, 1]; 0 for one that was never graded."""
        near = self._near(question)
        return {expert: self._weight(self._skills.get(expert, {}), near) for expert in experts}

    def _near(self, question: str) -> list[tuple[str, float]]:
        if question not in self._nearest:
            if len(self._nearest) >= _KEPT_QUESTIONS:
                self._nearest.clear()
            found = nearest(self._families, self._embedder.embed([question])[0], self._neighbours)
            self._nearest[question] = [
                (family, max(similarity, 0.0) ** SHARPNESS) for family, similarity in found
            ]
        return self._nearest[question]

    def _weight(self, skills: Skills, near: list[tuple[str, float]]) -> float:
        graded = [(skills[family], share) for family, share in near if family in skills]
        total = PRIOR + sum(share for _, share in graded)
        passed = sum(share for solved, share in graded if solved)
        return (passed + PRIOR * fitness_of(skills)) / total


def fitness_of(skills: Skills) -> float:
    """Share of passes among what was graded; 0 if nothing was."""
    return sum(skills.values()) / max(len(skills), 1)


def open_router(context: ReadContext, skills: Mapping[str, Skills] | None = None) -> SkillRouter:
    """The router of a run, over all families that it ever accepted.

    Args:
        context: the run; read only.
        skills: expert -> grades on the history; those of the run if None.
    """
    config = context.config
    families = context.store.families()
    embedder = open_embedder(config.novelty)
    recorded = RecordedEmbedder(embedder, context.store)
    rows = recorded.embed([family.novelty_text() for family in families])
    vectors = {family.id: row for family, row in zip(families, rows, strict=True)}
    known = eligible(context.store) if skills is None else skills
    return SkillRouter(embedder, vectors, known, config.answering.neighbours)
