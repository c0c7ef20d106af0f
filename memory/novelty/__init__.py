"""The novelty memory: which families are like this one?

    memory     NoveltyMemory, Neighbour: kept in Chroma, owned by `run.db`
    embedding  Embedder, open_embedder, minilm: from texts to unit vectors

Chroma, PyTorch and OpenAI's client are loaded when they are first used.
"""

from memory.novelty.embedding import Embedder, open_embedder
from memory.novelty.memory import Neighbour, NoveltyMemory

__all__ = ["Embedder", "Neighbour", "NoveltyMemory", "open_embedder"]
