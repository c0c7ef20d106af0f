"""The Vendi score keeps to its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation.diversity import shares_by_origin, vendi_score
from memory.novelty.embedding import Vectors
from tests.memory.conftest import family_like


def unit_rows(seed: int, texts: int, size: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((texts, size))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


@given(st.integers(1, 40), st.integers(1, 40))
def test_equal_texts_count_once_and_orthogonal_ones_each(copies: int, different: int) -> None:
    vectors = np.repeat(np.eye(different, 64, dtype=np.float32), copies, axis=0)
    assert vendi_score(vectors) == pytest.approx(different)


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 12))
def test_order_and_copies_of_everything_do_not_matter(seed: int, texts: int, size: int) -> None:
    vectors = unit_rows(seed, texts, size)
    score = vendi_score(vectors)
    assert 1 - 1e-6 <= score <= min(texts, size) + 1e-6
    assert vendi_score(vectors[::-1]) == pytest.approx(score, rel=1e-5)
    assert vendi_score(np.concatenate([vectors, vectors])) == pytest.approx(score, rel=1e-5)


def test_the_papers_definition() -> None:
    vectors = unit_rows(3, 5, 7)
    eigenvalues = np.linalg.eigvalsh(vectors.astype(np.float64) @ vectors.T / 5)
    entropy = -sum(value * np.log(value) for value in eigenvalues)
    assert vendi_score(vectors) == pytest.approx(np.exp(entropy), rel=1e-6)


def test_nothing_is_not_diverse() -> None:
    assert vendi_score(np.zeros((0, 8), np.float32)) == 0.0


def test_shares_of_generators_and_of_what_an_llm_wrote() -> None:
    families = [
        family_like("a", generator="sums"),
        family_like("b", generator="sums,words"),
        family_like("c", generator="", capability="rhyming"),
        family_like("d", generator="words"),
    ]
    assert shares_by_origin(families) == {"sums": 0.375, "words": 0.375, "rhyming": 0.25}
    assert shares_by_origin([]) == {}
