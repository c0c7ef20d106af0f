"""Embeddings of texts, so that a run can be searched without Chroma and without its embedder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from memory.store import schema
from memory.store.codec import dump_json
from memory.store.database import Database

Vector = Float32[np.ndarray, " size"]


class EmbeddingTables(Database):
    """Unit vectors by embedder and hash of the text."""

    def put_embeddings(self, embedder: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors under the hashes of their texts; known ones stay as they are."""
        self._write_many(
            "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)",
            [
                (embedder, text, np.ascontiguousarray(vector, "<f4").tobytes())
                for text, vector in vectors.items()
            ],
        )

    def embedders(self) -> list[str]:
        """Whose vectors are recorded; mostly one."""
        if self.schema_version < schema.WITH_EMBEDDINGS:
            return []
        found = self._all("SELECT DISTINCT embedder FROM embeddings ORDER BY embedder")
        return [str(row[0]) for row in found]

    def embeddings(self, embedder: str, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors of an embedder among these text hashes that are recorded."""
        if self.schema_version < schema.WITH_EMBEDDINGS:
            return {}
        sql = (
            "SELECT text, vector FROM embeddings "
            "WHERE embedder = ? AND text IN (SELECT value FROM json_each(?))"
        )
        rows = self._all(sql, (embedder, dump_json(list(texts))))
        return {text: self._vector(text, vector) for text, vector in rows}

    def _vector(self, text: str, stored: bytes) -> Vector:
        with self._reading("embeddings", text):
            vector = np.frombuffer(stored, "<f4").astype(np.float32)
            if not np.isclose(np.linalg.norm(vector), 1.0, atol=1e-3):
                raise ValueError("no unit vector")
        return vector
