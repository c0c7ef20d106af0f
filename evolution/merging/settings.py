"""Settings of merges: anchors that are made before a run, and grafts during one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from evolution.errors import MergeError
from evolution.merging.methods import check_method
from memory.records import Json
from memory.settings import Settings


class MergeSettings(Settings):
    """A merge of seeds that joins the bank as an anchor, and the founders as an expert."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="What the merge is called among the experts",
    )
    method: str | None = Field(
        default=None, description="A method of mergekit: ties, dare_ties, sce, della, ..."
    )
    seeds: tuple[str, ...] = Field(
        default=(), description="Names of the seeds that are merged, in order; none: all of them"
    )
    parameters: dict[str, Json] = Field(
        default={},
        description="Parameters of the method, one value for all or a table of values by seed",
    )
    config: str | None = Field(
        default=None,
        description="Instead of a method: a mergekit YAML file, in which seeds go by their names",
    )
    rng_seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of methods that draw at random"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        """Refuse neither or both of method and YAML."""
        if (self.method is None) == (self.config is None):
            raise ValueError(f"merge {self.name!r} needs either a method or a mergekit config")
        if self.config is not None and (self.seeds or self.parameters):
            raise ValueError(f"merge {self.name!r}: its mergekit config names seeds and parameters")
        return self

    def members(self, seeds: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
        """Names of what the method merges, checked with the method and its parameters.

        Args:
            seeds: all of them, merged where none are named.
            known: the base, the seeds, and the merges before this one.

        Raises:
            MergeError: a name is not known, or mergekit would refuse the merge.
        """
        assert self.method is not None
        names = self.seeds or tuple(seeds)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise MergeError(
                f"merge {self.name!r} names {unknown[0]!r}, which is no seed ({', '.join(known)})"
            )
        try:
            check_method(self.method, self.parameters, names)
        except MergeError as error:
            raise MergeError(f"merge {self.name!r}: {error}") from None
        return names


class GraftSettings(Settings):
    """Merges of two archive members, by mergekit, that join the bank while a run goes on."""

    every: int = Field(default=0, ge=0, description="Generations between two grafts; 0: never")
    probability: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Chance of a graft when it is due"
    )
    methods: dict[str, dict[str, Json]] = Field(
        default={"ties": {"weight": 1.0, "density": 0.5}},
        min_length=1,
        description="Methods of mergekit, each with its parameters, of which one is drawn",
    )

    @model_validator(mode="after")
    def _methods_known(self) -> Self:
        """Refuse what mergekit does not know; without grafts mergekit is not even loaded."""
        try:
            for method, parameters in self.methods.items() if self.every else ():
                check_method(method, parameters, ("first", "second"))
        except MergeError as error:
            raise ValueError(str(error)) from error
        return self
