"""The models that a run starts from, merges of them, and spectral bases, as they are configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from evolution.bank.merge_methods import BASE_NAME, check_method
from evolution.errors import MergeError
from memory.records import Json
from memory.settings import Settings


class SeedSettings(Settings):
    """One seed: its name among the experts, and where its checkpoint is."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="What the seed is called among the experts",
    )
    path: str = Field(
        min_length=1,
        description="A folder (full checkpoint or LoRA adapter), a hub id (org/name or "
        "org/name@revision), a .gguf file, or builtin:NAME",
    )


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
        default=(), description="Names of the seeds that are merged, in order; unset: all of them"
    )
    parameters: dict[str, Json] = Field(
        default={},
        description="Parameters of the method, one value for all or a table of values by seed",
    )
    config: str | None = Field(
        default=None,
        description="Instead of a method: a mergekit YAML file that refers to seeds by name",
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
            raise ValueError(f"merge {self.name!r}: seeds and parameters belong into its config")
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
                f"merge {self.name!r} names {unknown[0]!r}, which is not a seed "
                f"({', '.join(known)})"
            )
        try:
            check_method(self.method, self.parameters, names)
        except MergeError as error:
            raise MergeError(f"merge {self.name!r}: {error}") from None
        return names


class ModelSettings(Settings):
    """The family of models that a run starts from."""

    base: str | None = Field(
        default="smollm2-135m-instruct",
        description="Model that the seeds were fine-tuned from: a folder, a hub id, a .gguf file "
        "or smollm2-135m-instruct (built in); unset: the mean of the seeds",
    )
    seeds: tuple[SeedSettings, ...] = Field(
        default=(
            SeedSettings(name="numbers", path="builtin:numbers"),
            SeedSettings(name="words", path="builtin:words"),
            SeedSettings(name="logic", path="builtin:logic"),
        ),
        description="Checkpoints of the same architecture and tokenizer that are bred",
    )
    merges: tuple[MergeSettings, ...] = Field(
        default=(),
        description="Merges of seeds by mergekit that join the bank and the founders, as in "
        '[{ name = "ties", method = "ties", parameters = { weight = 1.0, density = 0.5 } }]',
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="Number format of the experts' weights"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        """Refuse two seeds of one name, and a family of nothing."""
        names = [BASE_NAME, *(s.name for s in self.seeds), *(m.name for m in self.merges)]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"seed name {double[0]!r} is used twice ({BASE_NAME!r} is the base)")
        if self.base is None and not self.seeds:
            raise ValueError("set a base, or at least one seed")
        return self

    @model_validator(mode="after")
    def _merges_known(self) -> Self:
        """Refuse what mergekit does not know; without merges mergekit is not even loaded."""
        seeds = [seed.name for seed in self.seeds]
        known = [BASE_NAME, *seeds]
        try:
            for merge in self.merges:
                if merge.method is not None:
                    merge.members(seeds, known)
                known.append(merge.name)
        except MergeError as error:
            raise ValueError(str(error)) from error
        return self


class SpectralSettings(Settings):
    """How the spectral bases, along which weights mutate, are computed."""

    rank: int = Field(
        default=64,
        ge=0,
        description="Singular triplets per matrix; 0 disables spectral mutation",
    )
    method: Literal["auto", "exact", "randomised"] = Field(
        default="auto",
        description="auto: exact up to dimension 2048, randomised above; the others force one",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the randomised method")
