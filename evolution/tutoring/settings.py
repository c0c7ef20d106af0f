"""How experts learn while a run goes on."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from memory.settings import Settings

TUTOR: Final = "tutor"
"""What descends from a lesson is called by."""

GPU_STEPS: Final = 120
"""Steps of a lesson where nothing is set and experts answer on a GPU."""

STEPS_EACH: Final = 15
"""Steps of a lesson for each of its families, where their number is not set."""


class TutorSettings(Settings):
    """Short LoRA runs (arXiv 2106.09685) on fresh instances of what the archive cannot do."""

    steps: int | None = Field(
        default=None,
        ge=0,
        description=f"gradient steps of a lesson; 0: no lessons; by default {GPU_STEPS} where "
        "experts answer on a GPU, and 0 on a CPU",
    )
    every: int = Field(
        default=2,
        ge=1,
        description="generations between two lessons; the first is given in the one before the "
        "generation of this number",
    )
    families: int | None = Field(
        default=None,
        ge=1,
        description="generative families in one lesson, at most; by default one for every "
        f"{STEPS_EACH} steps, and not fewer than 2",
    )
    instances: int = Field(
        default=96, ge=1, description="fresh instances of each family that are learnt from"
    )
    labels: Literal["reference", "archive"] = Field(
        default="archive",
        description="what is learnt: a right answer of the archive where its best give one, and "
        "the computed reference elsewhere; or the reference throughout",
    )
    replay: float = Field(
        default=0.25,
        ge=0.0,
        lt=1.0,
        description="share of each batch that the parent passes already, with its own replies",
    )
    batch: int = Field(default=16, ge=1, description="examples in one step")
    rank: int = Field(default=16, ge=1, description="of the factors that a lesson adds")
    learning_rate: float = Field(
        default=1e-3,
        gt=0.0,
        description="highest one: it rises for a tenth of the steps, and falls",
    )

    def steps_on(self, device: str) -> int:
        """Gradient steps of a lesson.

        Args:
            device: type of the device that experts answer on, as in torch: `cpu`, `cuda`.
        """
        if self.steps is not None:
            return self.steps
        return GPU_STEPS if device == "cuda" else 0

    def most_families(self, steps: int) -> int:
        """How many families a lesson of so many steps is about, at most."""
        return self.families or max(2, steps // STEPS_EACH)
