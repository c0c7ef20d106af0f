"""Who stays in the archive, and who mates, as it is configured."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from evolution.errors import OperatorError
from evolution.registry import rule_parameters
from memory.records import Json
from memory.settings import Settings


class SelectionSettings(Settings):
    """Who stays in the archive, and who mates."""

    survival: str = Field(
        default="dns",
        description="dns: Dominated Novelty Search; fitness: the fittest; niches: M2N2 fitness "
        "sharing; or a rule of a plugin",
    )
    survival_parameters: dict[str, Json] = Field(
        default={}, description="Parameters of a plugin's survival rule"
    )
    distance: Literal["weighted", "unweighted", "hamming"] = Field(
        default="weighted",
        description="dns: what one expert can do and a fitter one cannot, families weighted by the "
        "number of experts that fail them, or not; or Hamming distance",
    )
    ratio_to: Literal["all", "unsolved"] = Field(
        default="all",
        description="dns: distances relative to all families, or to those the fitter one fails",
    )
    neighbours: int = Field(
        default=3, ge=1, description="dns: nearest fitter experts that novelty averages over"
    )
    sharing: float = Field(
        default=1.0,
        ge=0.0,
        description="niches: exponent by which solvers of a family share its reward; 0 is plain "
        "counting",
    )
    gibberish_filter: bool = Field(
        default=True, description="Keep bred experts that produce gibberish out of the archive"
    )
    mating: str = Field(
        default="attraction",
        description="attraction: a fit parent, and one that passes what the first fails; uniform; "
        "fitness: both in proportion to fitness; or a rule of a plugin",
    )
    mating_parameters: dict[str, Json] = Field(
        default={}, description="Parameters of a plugin's mating rule"
    )

    @model_validator(mode="after")
    def _rules_known(self) -> Self:
        """Refuse unknown rules and parameters, with the nearest known name."""
        try:
            rule_parameters("survival", self.survival, self, self.survival_parameters)
            rule_parameters("mating", self.mating, self, self.mating_parameters)
        except OperatorError as error:
            raise ValueError(str(error)) from error
        return self
