"""Settings of this room, and the base class of the settings of all rooms."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of all settings: immutable; an unknown key and a number without end are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoveltySettings(Settings):
    """How families are compared with what is already in the pool."""

    embedder: str = Field(
        default="minilm",
        min_length=1,
        description="What embeds the families: 'minilm' (built in), 'openai' (any "
        "OpenAI-compatible endpoint, see embedder_url) or the path of a sentence-transformers "
        "folder",
    )
    embedder_url: str | None = Field(
        default=None,
        description="Base URL of the embeddings endpoint, as in http://localhost:8000/v1",
    )
    embedder_model: str = Field(
        default="text-embedding-3-small",
        min_length=1,
        description="Model name that is sent to the embeddings endpoint",
    )
    embedder_key_env: str = Field(
        default="",
        description="Environment variable that holds the key of the embeddings endpoint; if empty, "
        "no key is sent to embedder_url, and OPENAI_API_KEY is used where that is not set",
    )
    # Measured with MiniLM on the reasoning-gym generators: of two draws of one generator at one
    # level 46 % are more than 0.97 alike, of neighbouring levels 1 % (8 % are more than 0.95), and
    # different generators are at most 0.68 alike.
    duplicate_similarity: float = Field(
        default=0.97,
        ge=-1.0,
        le=1.0,
        description="Cosine similarity above which a family counts as a duplicate",
    )
    similar_similarity: float = Field(
        default=0.7,
        ge=-1.0,
        le=1.0,
        description="Cosine similarity above which an agent is asked whether the family is "
        "interestingly new",
    )
    neighbours: int = Field(
        default=3, ge=1, description="How many nearest families are shown to that agent"
    )
    chroma_url: str | None = Field(
        default=None,
        description="URL of a Chroma server, as in http://localhost:8000; by default Chroma runs "
        "inside the process and keeps its data in the run folder",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        """Refuse thresholds that leave no room between similar and duplicate."""
        if self.similar_similarity > self.duplicate_similarity:
            raise ValueError(
                f"similar_similarity ({self.similar_similarity}) must not exceed "
                f"duplicate_similarity ({self.duplicate_similarity})"
            )
        return self
