"""How experts are merged by what they do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memory.settings import Settings


class RegMeanSettings(Settings):
    """Merges of experts by the inputs that each of them is right on (RegMean)."""

    shrink: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="Factor of the off-diagonals of Gram matrices; 0 weighs each input by itself",
    )
    ridge: float = Field(
        default=1e-3, gt=0.0, description="Ridge, relative to the mean of the diagonal"
    )
    onward: Literal["member", "merged"] = Field(
        default="member",
        description="whose activations enter the next layer: each member's own, or those of the "
        "merge so far (RegMean++, a second pass)",
    )
