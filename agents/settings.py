"""Settings of the agents' room."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from memory.records import Sampling
from memory.settings import Settings


class PopulationSettings(Settings):
    """How many experts there are."""

    founders: int = Field(default=8, ge=2, description="experts of generation 0, seeds included")
    capacity: int = Field(default=8, ge=1, description="experts that the archive keeps")
    children: int = Field(default=4, ge=1, description="experts bred in each generation")
    trial_panel: int = Field(
        default=3, ge=0, description="experts that answer a drafted family for the critic"
    )


FOUNDING_MARGIN = 1.4
"""Assignments per free place of the pool: about one proposal in four is rejected, and a second
wave takes longer than a few more proposals in the first."""


class PoolSettings(Settings):
    """How many families there are, and how the pool adapts."""

    families: tuple[str, ...] = Field(
        default=(),
        description="folders of families that the pool begins with, as in "
        '["runs/quickstart/tasks"]; scientists fill up the rest',
    )
    capacity: int = Field(default=16, ge=2, description="families that grade at one time")
    founding_waves: int = Field(
        default=4, ge=1, description="rounds of assignments that may fill the founding pool"
    )
    adapt_every: int = Field(default=2, ge=1, description="generations between two adaptations")
    adaptations: int = Field(default=8, ge=0, description="assignments of one adaptation")
    draft_ahead: bool = Field(
        default=False,
        description="draft the families of an adaptation while the generation before it is judged, "
        "so that engines and scientists do not wait for each other; needs adapt_every of at least "
        "2 (docs/scaling.md)",
    )
    inspirations: int = Field(default=3, ge=0, description="families shown for contrast")
    weak_spots: int = Field(default=5, ge=0, description="failing capabilities shown to scientists")
    lately_rejected: int = Field(default=5, ge=0, description="late rejections shown to scientists")
    taken_names: int = Field(
        default=100, ge=0, description="names of the newest families shown to scientists"
    )
    easy_above: float = Field(
        default=0.5, ge=0, le=1, description="a pass rate above this asks for a harder family"
    )
    novel_share: float = Field(
        default=0.8, ge=0, le=1, description="novel rather than related, at medium pass rates"
    )
    rescue: float = Field(
        default=0.25, ge=0, le=1, description="share of impossible families that get an easier one"
    )

    @model_validator(mode="after")
    def _judged_between(self) -> Self:
        if self.draft_ahead and self.adapt_every < 2:
            raise ValueError(
                "draft_ahead needs adapt_every of at least 2: with 1 the archive is asked new "
                "questions while scientists are shown what it answered"
            )
        return self

    def wave(self, free: int) -> int:
        """Assignments that are to fill so many free places of the founding pool."""
        return max(4, math.ceil(free * FOUNDING_MARGIN))


class SandboxSettings(Settings):
    """Where the code of families runs, and what it may use."""

    kind: Literal["auto", "bubblewrap", "docker", "process"] = Field(
        default="auto",
        description="'bubblewrap', 'docker', 'process' (limits only, no isolation: for the "
        "built-in offline families), or 'auto': bubblewrap where it works",
    )
    docker_image: str = Field(
        default="python:3.12-slim",
        min_length=1,
        description="image of kind 'docker': Python, libseccomp, and what families may import",
    )
    allow_unsafe: bool = Field(
        default=False,
        description="run code that an LLM wrote even without isolation (never do this on a machine "
        "that holds anything of value); for this command only; a run does not remember it",
    )
    guests: int = Field(default=2, ge=1, description="sandbox processes that run at a time")
    seconds: float = Field(
        default=10.0, gt=0, description="wall clock of one step: an import, a scoring"
    )
    memory_mb: int = Field(
        default=1024,
        ge=256,
        description="address space of one process in MiB; the interpreter takes about 250 of it",
    )
    file_mb: int = Field(default=16, ge=1, description="size of scratch files in MiB")
    processes: int = Field(
        default=8, ge=0, description="processes and threads that a family may start"
    )
    output_kb: int = Field(default=256, ge=16, description="size of one result in KiB")
    judge_calls: int = Field(
        default=4, ge=0, description="questions to an LLM judge while one submission is scored"
    )
    judge_characters: int = Field(
        default=16_384, ge=1, description="length of one question to an LLM judge"
    )
    preimport: tuple[str, ...] = Field(
        default=("reasoning_gym",),
        description="modules imported once per sandbox process, where installed, to save time",
    )


class GateSettings(Settings):
    """The gates that a drafted family has to pass."""

    trivial_answers: tuple[str, ...] = Field(
        default=("yes", "no", "true", "false", "0", "1", "a", "b", "none"),
        description="constant answers that are tried on every instance",
    )
    instruction_length: int = Field(
        default=8000, ge=1, description="characters that an instruction may have"
    )
    seeds: int = Field(
        default=10,
        ge=2,
        description="seeds from which a generative family draws, at each of its levels, for its "
        "gates",
    )
    leak_length: int = Field(
        default=20,
        ge=1,
        description="a reference of this many characters may not stand in its instruction",
    )


class CalibrationSettings(Settings):
    """How the trial panel finds the level at which a drafted family enters the pool."""

    instances: int = Field(
        default=4, ge=2, description="instances that each expert of the panel is asked per level"
    )
    low: float = Field(
        default=0.15,
        gt=0.0,
        lt=1.0,
        description="least share of right answers of the panel, chance taken off",
    )
    high: float = Field(
        default=0.85, gt=0.0, le=1.0, description="highest share of right answers, likewise"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class JudgeSettings(Settings):
    """How experts answer the families' instances."""

    max_tokens: int = Field(default=24, ge=1, description="tokens of one answer")
    temperature: float = Field(default=0.0, ge=0.0, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="nucleus sampling")
    samples: int = Field(
        default=1,
        ge=1,
        description="answers per instance; an instance is passed by more than half of them",
    )
    instances: int = Field(
        default=4,
        ge=1,
        description="fresh instances of each generative family that experts are asked in an "
        "adaptation period",
    )
    racing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="children whose chance to survive falls below this, as 0.02, are not asked the "
        "rest; 0 asks all of them everything (docs/results.md has what it saves)",
    )
    votes: int = Field(
        default=3,
        ge=1,
        description="votes of the rater on each answer to a rated family; more than half decide",
    )

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class FinalsSettings(Settings):
    """The finals at the end of a run, on whose fresh instances the task force is chosen."""

    experts: int = Field(
        default=3,
        ge=0,
        description="bred experts of the archive that are examined, the fittest; base, seeds and "
        "their merge always are",
    )
    instances: int = Field(default=2, ge=1, description="fresh instances of each generative family")
    samples: int = Field(
        default=2,
        ge=0,
        description="sampled answers to each instance, beside the greedy one; with 0 all voices "
        "are greedy",
    )
    temperature: float = Field(
        default=0.7, gt=0.0, description="of sampled answers, here and in the task force"
    )
    families: int = Field(
        default=40,
        ge=1,
        description="families that ask at most; of a longer history the active ones, and others "
        "drawn by lot",
    )


class ScientistSettings(Settings):
    """How a scientist works on one assignment."""

    max_refinements: int = Field(
        default=3,
        ge=0,
        description="rounds in which a proposal may be changed after its first form",
    )
    critic: bool = Field(
        default=True,
        description="let a critic decide; off, whatever passes the gates is a candidate",
    )


class AnsweringSettings(Settings):
    """How one answer is chosen out of N."""

    passes: int = Field(
        default=3, ge=1, description="how often a chooser or rater is asked about the same answers"
    )
    patience: float = Field(
        default=120.0,
        gt=0,
        description="seconds that a chooser or rater may take for one question of `acdc ask`; then "
        "it ends, and says so",
    )
    shown: int = Field(
        default=4000, ge=100, description="characters of each answer that a judge is shown"
    )
    neighbours: int = Field(
        default=8, ge=1, description="families of the history that skill_routing looks at"
    )
    near: float = Field(
        default=0.4,
        ge=-1,
        le=1,
        description="similarity (cosine) of a question to the family most like it from which on "
        "the history says something; below, skill_routing leaves the choice to logprob",
    )
    reward_model: str | None = Field(
        default=None,
        description="folder or hub id of a sequence classifier, for the method 'reward'",
    )
    reward_device: str = Field(default="auto", description="where it runs: auto, cpu, cuda:1")


class PromptSettings(Settings):
    """Which prompts the agents and the experts are given."""

    folder: str | None = Field(
        default=None,
        description="folder of prompt files; a file there replaces the built-in one of that name",
    )
