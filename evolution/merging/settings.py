"""How experts are merged by what they do."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from memory.settings import Settings

REGMEAN: Final = "regmean"
"""The method among those of mergekit, and what descends from it."""


class RegMeanSettings(Settings):
    """Merges of experts by the inputs that each of them is right on (RegMean)."""

    founding: bool = Field(
        default=True, description="merge the seeds once the first pool is graded, as a founder"
    )
    adapting: bool = Field(
        default=True, description="merge members of the archive whenever the pool has adapted"
    )
    members: int = Field(
        default=3, ge=2, le=4, description="experts in one merge, chosen for what they add"
    )
    texts: int = Field(
        default=12,
        ge=1,
        description="passed instances that are read of each member; time grows with them",
    )
    scale: float = Field(
        default=1.2, gt=0.0, le=2.0, description="length of the merge; 1 is the closed form"
    )
    shrink: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="factor of the off-diagonals of Gram matrices; 0 weighs each input by itself",
    )
    ridge: float = Field(
        default=1e-3, gt=0.0, description="ridge, relative to the mean of the diagonal"
    )
    onward: Literal["member", "merged"] = Field(
        default="merged",
        description="whose activations enter the next layer: those of the merge so far "
        "(RegMean++), or each member's own, which saves a pass",
    )
    anchors: int = Field(
        default=24,
        ge=0,
        description="anchors of merges that are kept in memory; those that the archive uses least "
        "are read from the run folder when an expert needs them",
    )
