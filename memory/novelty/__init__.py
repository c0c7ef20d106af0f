"""The novelty memory: which families are like this one?

    memory      NoveltyMemory: kept in Chroma, owned by `run.db`
    embedding   Embedder, open_embedder, minilm: from texts to unit vectors
    recorded    RecordedEmbedder: vectors that a run has already, from `run.db`
    seal        whether Chroma's files are what was left behind
    similarity  nearest, Neighbour: exact cosine similarity, ties by id

Chroma, PyTorch and OpenAI's client are loaded when they are first used.
"""

from memory.novelty.embedding import Embedder, open_embedder
from memory.novelty.memory import NoveltyMemory
from memory.novelty.similarity import Neighbour

__all__ = ["Embedder", "Neighbour", "NoveltyMemory", "open_embedder"]
