"""Leakage: which families repeat a question of a benchmark?

Two tests, each blind where the other one sees: neighbours in the embedding find what was said in
other words (Yang et al., "Rethinking Benchmark and Contamination for Language Models with Rephrased
Samples", 2023), shared n-grams find what was copied in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from agents.evaluation.overlap import NGRAM, OverlapIndex
from memory.novelty.embedding import Embedder, Vectors
from memory.records import Family

Table = Float64[np.ndarray, "instances questions"]


@dataclass(frozen=True)
class BenchmarkQuestion:
    """A question of a benchmark.

    Attributes:
        source: the file that it stands in.
        id: its own name, or its place in the file.
    """

    source: str
    id: str
    text: str


@dataclass(frozen=True)
class Repeat:
    """A family that repeats a question.

    Attributes:
        instance: the instance of the family that is most like it.
        similarity: cosine of the embeddings of instruction and question.
        overlap: share of the question's n-grams that stand in the instruction.
        by: the tests that found it, `embedding` and `ngram`.
    """

    family: str
    instance: str
    question: BenchmarkQuestion
    similarity: float
    overlap: float
    by: tuple[str, ...]


@dataclass(frozen=True)
class Leakage:
    """What was found.

    Attributes:
        repeats: the worst first: by overlap and similarity together, then by name.
        nearest: family -> similarity of the question most like it, found or not.
        too_short: questions that have too few words for n-grams.
    """

    repeats: tuple[Repeat, ...]
    nearest: dict[str, float]
    too_short: int


def find_repeats(
    families: Sequence[Family],
    questions: Sequence[BenchmarkQuestion],
    embedder: Embedder,
    similarity: float,
    ngram: int = NGRAM,
    overlap: float = 0.0,
) -> Leakage:
    """Compare the instructions of every family with every question.

    Args:
        families: what is suspected.
        questions: at least one.
        embedder: makes the vectors of both.
        similarity: cosine from which a pair counts.
        ngram: words of an n-gram.
        overlap: share of n-grams above which a pair counts; 0 counts a single one.

    Raises:
        EmbeddingError: a text could not be embedded.
    """
    index = OverlapIndex([question.text for question in questions], ngram)
    vectors = embedder.embed([question.text for question in questions])
    repeats: list[Repeat] = []
    nearest: dict[str, float] = {}
    for family in families:
        instances = list(family.instructions)
        own = embedder.embed([family.instructions[name] for name in instances])
        likeness = _likeness(own, vectors)
        shares = _shares(index, [family.instructions[name] for name in instances], len(questions))
        nearest[family.id] = float(likeness.max())
        by_embedding, by_ngram = likeness >= similarity, shares > overlap
        for place in np.flatnonzero((by_embedding | by_ngram).any(axis=0)).tolist():
            worst = int(np.argmax(likeness[:, place] + shares[:, place]))
            tests = {"embedding": by_embedding[:, place].any(), "ngram": by_ngram[:, place].any()}
            repeats.append(
                Repeat(
                    family=family.id,
                    instance=instances[worst],
                    question=questions[place],
                    similarity=float(likeness[:, place].max()),
                    overlap=float(shares[:, place].max()),
                    by=tuple(test for test, found in tests.items() if found),
                )
            )
    repeats.sort(key=lambda r: (-(r.similarity + r.overlap), r.family, r.question.id))
    return Leakage(tuple(repeats), nearest, index.too_short)


def _likeness(own: Vectors, vectors: Vectors) -> Table:
    """(instances, questions) cosines; rounded, so that a threshold is the same everywhere."""
    return np.clip(np.round(own.astype(np.float64) @ vectors.T.astype(np.float64), 6), -1.0, 1.0)


def _shares(index: OverlapIndex, texts: Sequence[str], questions: int) -> Table:
    """(instances, questions) shares of shared n-grams."""
    shares = np.zeros((len(texts), questions))
    for row, text in enumerate(texts):
        for place, share in index.overlaps(text).items():
            shares[row, place] = share
    return shares
