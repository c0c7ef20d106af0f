"""How children are bred from their parents, and how often two archive members are grafted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from evolution.bank.merge_methods import check_method
from evolution.errors import MergeError, OperatorError
from evolution.merging.settings import REGMEAN, RegMeanSettings
from evolution.registry import check_operator
from evolution.tutoring.settings import TutorSettings
from memory.messages import did_you_mean, first_problem
from memory.records import Json
from memory.settings import Settings


class GraftSettings(Settings):
    """Merges of two parents that join the bank while a run goes on."""

    every: int = Field(default=1, ge=0, description="Generations between two grafts; 0: none")
    probability: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Chance of a graft when it is due"
    )
    methods: dict[str, dict[str, Json]] = Field(
        default={REGMEAN: {}},
        min_length=1,
        description="regmean, with settings of breeding.regmean, and methods of mergekit, each "
        "with its parameters; one of them is drawn",
    )

    @model_validator(mode="after")
    def _methods_known(self) -> Self:
        """Refuse what mergekit does not know; without grafts mergekit is not even loaded."""
        try:
            for method, parameters in self.methods.items() if self.every else ():
                if method == REGMEAN:
                    _check_regmean(parameters)
                elif hint := did_you_mean(method, (REGMEAN,)):
                    raise MergeError(f"there is no method {method!r} of grafts{hint}")
                else:
                    check_method(method, parameters, ("first", "second"))
        except MergeError as error:
            raise ValueError(str(error)) from error
        return self


GENETIC, CMA = "genetic", "cma"
EMITTERS = (GENETIC, CMA)
"""What makes children: crossover and mutations, or searches that learn."""


OF_ONE_MERGE = ("texts", "scale", "shrink", "ridge", "onward")
"""Settings of `breeding.regmean` that a graft may have of its own."""


def _check_regmean(parameters: Mapping[str, Json]) -> None:
    """Refuse parameters that no single merge has.

    Raises:
        MergeError: unknown keys, or a bad value.
    """
    unknown = sorted(parameters.keys() - set(OF_ONE_MERGE))
    if unknown:
        hint = did_you_mean(unknown[0], OF_ONE_MERGE)
        raise MergeError(
            f"{REGMEAN} as a graft has no setting {unknown[0]!r}{hint}; it has "
            f"{', '.join(OF_ONE_MERGE)}"
        )
    try:
        RegMeanSettings.model_validate(parameters)
    except ValidationError as error:
        raise MergeError(f"{REGMEAN} as a graft: {first_problem(error)}") from error


class BreedingSettings(Settings):
    """How children are bred from their parents."""

    emitters: dict[str, float] = Field(
        default={GENETIC: 1.0, CMA: 0.0},
        description="What makes children, in which shares: genetic, crossover and mutations; cma, "
        "searches of coefficients that learn (runs of hundreds of children; docs/operators.md)",
    )
    crossovers: dict[str, float] = Field(
        default={"slerp": 0.5, "linear": 0.25, "task_arithmetic": 0.25},
        description="Mating weights: how often each crossover is drawn",
    )
    crossover_parameters: dict[str, dict[str, Json]] = Field(
        default={}, description="Parameters of the crossovers, a table for each"
    )
    mutations: dict[str, dict[str, Json]] = Field(
        default={"spectral": {"strength": 0.02, "strength_mode": "relative"}},
        description="Mutations in order, each with its parameters",
    )
    mutation_rate: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Probability of each mutation in each child"
    )
    coefficient_bound: float = Field(
        default=2.0,
        gt=0.0,
        description="Longest task vector per block, in lengths of the largest seed's",
    )
    displacement_bound: float = Field(
        default=0.04,
        ge=0.0,
        description="Largest spectral displacement of a matrix, relative to its Frobenius norm",
    )
    regmean: RegMeanSettings = RegMeanSettings()
    graft: GraftSettings = GraftSettings()
    tutor: TutorSettings = TutorSettings()
    noise_bound: float = Field(
        default=0.04,
        ge=0.0,
        description="Largest Gaussian noise of a block, relative to the norm of its matrices",
    )
    noise_fields: int = Field(
        default=8,
        ge=0,
        description="Largest number of Gaussian noise seeds in a genome; the strongest are kept, "
        "and each is regenerated at every swap",
    )

    @property
    def cma_share(self) -> float:
        """Share of the children that searches are to ask for."""
        return self.emitters.get(CMA, 0.0) / sum(self.emitters.values())

    @field_validator("emitters")
    @classmethod
    def _emitters_known(cls, shares: dict[str, float]) -> dict[str, float]:
        for name in shares:
            if name not in EMITTERS:
                hint = did_you_mean(name, EMITTERS)
                raise ValueError(
                    f"unknown emitter {name!r}{hint}; there are: {', '.join(EMITTERS)}"
                )
        return shares

    @field_validator("crossovers", "emitters")
    @classmethod
    def _can_draw(cls, weights: dict[str, float]) -> dict[str, float]:
        """Refuse weights from which nothing can be drawn."""
        if any(not 0.0 <= weight < float("inf") for weight in weights.values()):
            raise ValueError("weights must be finite and not negative")
        if sum(weights.values()) <= 0.0:
            raise ValueError("at least one weight must be above 0")
        return weights

    @model_validator(mode="after")
    def _operators_known(self) -> Self:
        """Refuse unknown operators and parameters, with the nearest known name."""
        try:
            for name in {**self.crossovers, **self.crossover_parameters}:
                check_operator("crossover", name, self.crossover_parameters.get(name, {}))
            for name, parameters in self.mutations.items():
                check_operator("mutation", name, parameters)
        except OperatorError as error:
            raise ValueError(str(error)) from error
        return self
