"""Who is good at what: the run's own history says it, and no judge is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.context import ReadContext
from agents.task_force.asked import History
from agents.task_force.field import standing_of
from evolution.selection import Standing
from memory.novelty.embedding import Embedder, open_embedder
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.similarity import Neighbour, Vector, nearest
from memory.records import Voice

NEIGHBOURS = 8
SHARPNESS = 4
"""Exponent of a similarity: a family half as similar says a sixteenth."""
NEAR = 0.4
"""`answering.near`: a question that is less similar to every family is like nothing that was asked
(`benchmarks/nearness.py`)."""
PRIOR = 0.1
"""How much the fitness on the whole history counts beside the neighbours."""
_KEPT_QUESTIONS = 1024
"""A server is asked for weeks; neighbours of a question are kept for the votes on it alone."""


@dataclass(frozen=True)
class NearFamily:
    """A family of the history that is like a question.

    Attributes:
        family: its id.
        name: what it is called.
        similarity: of the question to the family's description, as a cosine; 1 where the family
            has asked that very question.
        rates: voice, as it is called -> share of the family's instances that it passes, the
            highest first.
    """

    family: str
    name: str
    similarity: float
    rates: dict[str, float]


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
        near: similarity from which on a family says something about a question.
        names: family -> what it is called.
        history: what the families have asked; a question that is among it is known, however little
            it is like the description of its family.
    """

    def __init__(
        self,
        embedder: Embedder,
        families: Mapping[str, Vector],
        standing: Standing,
        neighbours: int = NEIGHBOURS,
        near: float = NEAR,
        names: Mapping[str, str] | None = None,
        history: History | None = None,
    ) -> None:
        self.history = history
        self._similar_from = near
        self._names = names or {}
        self._embedder = embedder
        self._families = families
        self._standing = standing
        self._neighbours = neighbours
        self._nearest: dict[str, list[Neighbour]] = {}

    def weights(self, question: str, voices: Sequence[Voice]) -> dict[Voice, float]:
        """Voice -> weight in [0, 1]; 0 for one whose expert was never graded."""
        near = self._near(question)
        return {voice: self._weight(voice, near) for voice in voices}

    def knows(self, question: str) -> bool:
        """Whether anything like it was ever asked."""
        return any(each.similarity >= self._similar_from for each in self._near(question)[:1])

    def nearest(self, question: str, voices: Sequence[Voice], most: int = 3) -> list[NearFamily]:
        """The families that are like a question, or else the one most like it, and who passes them.

        Args:
            question: what is asked.
            voices: whose pass rates are reported.
            most: so many families at most.
        """
        near = self._near(question)[:most]
        found: list[NearFamily] = []
        for family, similarity in near:
            if found and similarity < self._similar_from:
                break
            known = {voice.label: self._standing.known(voice) for voice in voices}
            passed = {label: rates[family] for label, rates in known.items() if rates.get(family)}
            ordered = dict(sorted(passed.items(), key=lambda item: -item[1]))
            name = self._names.get(family, family)
            found.append(NearFamily(family, name, similarity, ordered))
        return found

    def _near(self, question: str) -> list[Neighbour]:
        if question not in self._nearest:
            if len(self._nearest) >= _KEPT_QUESTIONS:
                self._nearest.clear()
            vector = self._embedder.embed([question])[0]
            near = nearest(self._families, vector, self._neighbours)
            own = None if self.history is None else self.history.family_of(question)
            if own is not None:
                near = [Neighbour(own, 1.0), *(each for each in near if each.family_id != own)]
            self._nearest[question] = near
        return self._nearest[question]

    def _weight(self, voice: Voice, near: list[Neighbour]) -> float:
        rates = self._standing.known(voice)
        graded = [
            (rates[family], max(similarity, 0.0) ** SHARPNESS)
            for family, similarity in near
            if family in rates
        ]
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
    return SkillRouter(
        embedder,
        vectors,
        known,
        config.answering.neighbours,
        config.answering.near,
        {family.id: family.name for family in families},
        History(context.store, families),
    )
