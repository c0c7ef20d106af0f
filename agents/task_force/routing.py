"""Who is good at what: the run's own history says it, and no judge is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.context import ReadContext
from agents.task_force.field import standing_of
from evolution.selection import Standing
from memory.novelty.embedding import Embedder, open_embedder
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.similarity import Vector, nearest
from memory.records import Voice

NEIGHBOURS = 8
SHARPNESS = 4
"""Exponent of a similarity: a family half as similar says a sixteenth."""
PRIOR = 0.1
"""How much the fitness on the whole history counts beside the neighbours."""
_KEPT_QUESTIONS = 1024
"""A server is asked for weeks; neighbours of a question are kept for the votes on it alone."""


class SkillRouter:
    """Estimates who solves questions like this one, from grades on similar families.

    With the families f most similar to the question and their similarities s, a voice's weight is
    (sum s^4 rate(f) + 0.1 fitness) / (sum s^4 + 0.1), over the families on which it was graded,
    with the mean rate over a family's instances: far from everything that was ever asked, it is
    just the fitness.

    Args:
        embedder: of questions.
        families: family -> its unit vector, made by the same embedder.
        standing: what voices pass.
        neighbours: how many families are looked at.
    """

    def __init__(
        self,
        embedder: Embedder,
        families: Mapping[str, Vector],
        standing: Standing,
        neighbours: int = NEIGHBOURS,
    ) -> None:
        self._embedder = embedder
        self._families = families
        self._standing = standing
        self._neighbours = neighbours
        self._nearest: dict[str, list[tuple[str, float]]] = {}

    def weights(self, question: str, voices: Sequence[Voice]) -> dict[Voice, float]:
        """Voice -> weight in [0, 1]; 0 for one whose expert was never graded."""
        near = self._near(question)
        return {voice: self._weight(voice, near) for voice in voices}

    def _near(self, question: str) -> list[tuple[str, float]]:
        if question not in self._nearest:
            if len(self._nearest) >= _KEPT_QUESTIONS:
                self._nearest.clear()
            found = nearest(self._families, self._embedder.embed([question])[0], self._neighbours)
            self._nearest[question] = [
                (family, max(similarity, 0.0) ** SHARPNESS) for family, similarity in found
            ]
        return self._nearest[question]

    def _weight(self, voice: Voice, near: list[tuple[str, float]]) -> float:
        rates = self._standing.known(voice)
        graded = [(rates[family], share) for family, share in near if family in rates]
        total = PRIOR + sum(share for _, share in graded)
        passed = sum(rate * share for rate, share in graded)
        return (passed + PRIOR * self._standing.fitness(voice)) / total


def open_router(context: ReadContext, standing: Standing | None = None) -> SkillRouter:
    """The router of a run, over all families of which anything is known.

    Args:
        context: the run; read only.
        standing: what voices pass; None for what is known in the run.
    """
    config = context.config
    known = standing_of(context.store) if standing is None else standing
    graded = {family for family, _ in known.places}
    families = [family for family in context.store.families() if family.id in graded]
    embedder = open_embedder(config.novelty)
    recorded = RecordedEmbedder(embedder, context.store)
    rows = recorded.embed([family.novelty_text() for family in families])
    vectors = {family.id: row for family, row in zip(families, rows, strict=True)}
    return SkillRouter(embedder, vectors, known, config.answering.neighbours)
