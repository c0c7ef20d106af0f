"""An embedder with a memory: what a run has embedded before is read from its store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memory.hashing import text_hash
from memory.novelty.embedding import Embedder, Vectors
from memory.store import RunStore


class RecordedEmbedder:
    """Looks texts up in the run store, and asks the embedder behind it only for the others.

    A store that is open for reading takes nothing new.
    """

    def __init__(self, embedder: Embedder, store: RunStore) -> None:
        """Put a store before an embedder."""
        self._embedder = embedder
        self._store = store

    @property
    def name(self) -> str:
        """Identity of the vectors: that of the embedder."""
        return self._embedder.name

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text.

        Raises:
            EmbeddingError: a text that is not recorded could not be embedded.
        """
        hashes = [text_hash(text) for text in texts]
        known = self._store.embeddings(self.name, hashes)
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
        if missing or not texts:
            rows = self._embedder.embed(list(missing.values()))
            if not texts:
                return rows
            new = dict(zip(missing, rows, strict=True))
            if not self._store.read_only:
                self._store.put_embeddings(self.name, new)
            known |= new
        return np.stack([known[key] for key in hashes])
