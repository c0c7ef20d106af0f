"""Embeddings that are kept in the run store, and read without their embedder."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.novelty.embedding import Vectors, unit_rows
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.similarity import nearest
from memory.store import RunStore, schema


class Counting:
    """Embeds a text as its length and its number of vowels; keeps what it was asked."""

    def __init__(self, name: str = "counting") -> None:
        self.name = name
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        rows = np.array([[len(t), sum(c in "aeiou" for c in t), 1] for t in texts], np.float32)
        return unit_rows(rows.reshape(-1, 3), self.name)


def test_a_text_is_embedded_once_for_a_run(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        first = RecordedEmbedder(Counting(), store).embed(["one", "two", "one"])
    with RunStore.open(tmp_path) as store:
        behind = Counting()
        again = RecordedEmbedder(behind, store).embed(["two", "one", "three"])
    assert behind.asked == ["three"]
    np.testing.assert_array_equal(again[:2], first[[1, 0]])
    np.testing.assert_array_equal(first[0], first[2])


def test_another_embedder_does_not_read_these_vectors(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        RecordedEmbedder(Counting(), store).embed(["one"])
        other = Counting("other")
        RecordedEmbedder(other, store).embed(["one"])
    assert other.asked == ["one"]


def test_a_reader_records_nothing_and_gets_the_same(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        RecordedEmbedder(Counting(), store).embed(["one"])
    with RunStore.open(tmp_path, read_only=True) as store:
        behind = Counting()
        for _ in range(2):
            rows = RecordedEmbedder(behind, store).embed(["one", "two"])
        np.testing.assert_array_equal(rows, Counting().embed(["one", "two"]))
    assert behind.asked == ["two", "two"]


def test_a_run_of_the_schema_before_is_read_without_a_migration(tmp_path: Path) -> None:
    RunStore.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "run.db") as old:
        old.executescript("DROP TABLE embeddings; PRAGMA user_version = 1;")
    with RunStore.open(tmp_path, read_only=True) as store:
        assert store.schema_version < schema.WITH_EMBEDDINGS
        rows = RecordedEmbedder(Counting(), store).embed(["one"])
    np.testing.assert_array_equal(rows, Counting().embed(["one"]))


def test_nothing_to_embed_and_nothing_to_search(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        assert RecordedEmbedder(Counting(), store).embed([]).shape[0] == 0
    assert nearest({}, np.ones(3, np.float32), 3) == []


@given(
    st.dictionaries(st.text(max_size=3), st.text(min_size=1, max_size=9), max_size=8),
    st.text(min_size=1, max_size=9),
    st.integers(1, 9),
)
def test_the_nearest_are_the_most_similar_and_ties_go_by_id(
    texts: dict[str, str], question: str, k: int
) -> None:
    vectors = dict(zip(texts, Counting().embed(list(texts.values())), strict=True))
    query = Counting().embed([question])[0]
    found = nearest(vectors, query, k)
    assert len(found) == min(k, len(texts))
    exact = {name: float(vector.astype(float) @ query) for name, vector in vectors.items()}
    wanted = sorted(exact, key=lambda name: (-round(exact[name], 6), name))[:k]
    assert [exact[name] for name, _ in found] == pytest.approx([exact[name] for name in wanted])
    assert found == sorted(found, key=lambda item: (-item.similarity, item.family_id))
