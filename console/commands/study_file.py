"""What a study varies: named departures from one configuration, and the file that lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.config import RunConfig
from console.errors import ConfigError
from console.run.config import given_tree, over, read_toml, validated
from evolution.breeding.settings import BreedingSettings
from evolution.registry import operators
from memory.messages import did_you_mean, first_problem

FULL = "full"
"""The variant without departures, with which all others are compared."""
_DEFAULT = BreedingSettings()


def _each_operator() -> dict[str, dict[str, Any]]:
    """Every operator that is on by default off, and every one that is off on beside the others."""
    found: dict[str, dict[str, Any]] = {}
    for name in operators("crossover"):
        used = _DEFAULT.crossovers.get(name, 0.0) > 0.0
        weights = {**_DEFAULT.crossovers, name: 0.0 if used else 0.5}
        found[f"{'no' if used else 'with'}_{name}"] = {"breeding.crossovers": weights}
    for name in operators("mutation"):
        # Without the default ones: `no_mutation`.
        if name not in _DEFAULT.mutations:
            found[f"with_{name}"] = {"breeding.mutations": {**_DEFAULT.mutations, name: {}}}
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "static_pool": {"pool.adaptations": 0},
    "fitness_only": {"selection.survival": "fitness"},
    "no_mutation": {"breeding.mutation_rate": 0.0},
    "no_novelty_filter": {"novelty.duplicate_similarity": 1.0, "novelty.similar_similarity": 1.0},
    "no_gibberish_filter": {"selection.gibberish_filter": False},
    "no_critic": {"scientist.critic": False},
    "no_tutor": {"breeding.tutor.steps": 0},
    "uniform_mating": {"selection.mating": "uniform"},
    "linear_only": {"breeding.crossovers": {"slerp": 0, "linear": 1, "task_arithmetic": 0}},
    "unweighted_distance": {"selection.distance": "unweighted"},
    "no_graft": {"breeding.graft.every": 0},
    "no_founding_merge": {"breeding.regmean.founding": False},
    "no_merges": {
        "breeding.graft.every": 0,
        "breeding.regmean.founding": False,
        "breeding.regmean.adapting": False,
    },
    "with_cma": {"breeding.emitters": {"genetic": 0.5, "cma": 0.5}},
    "cma_only": {"breeding.emitters": {"genetic": 0.0, "cma": 1.0}},
    **_each_operator(),
}
"""Departures that need no definition. All have the budget of the full run: as many experts, judged
on a pool of the same capacity; `static_pool` keeps the founding pool, so no task coevolves, and
`no_tutor` has as many experts fewer as the full run gives lessons (none on a CPU, unless it sets
`breeding.tutor.steps`)."""


class StudySettings(BaseModel):
    """A study file.

    Attributes:
        folder: where runs and shared answers are kept; beside the file if relative.
        seeds: run seeds; every variant runs with each.
        tasks: files of held-out tasks.
        n: values of N.
        max_tokens: of one held-out answer; the run's own if None.
        variants: names of `VARIANTS`, or of tables under `define`.
        define: name -> departures, dotted keys or tables.
        run: the configuration from which all depart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Path("study")
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    tasks: tuple[Path, ...] = Field(min_length=1)
    n: tuple[int, ...] = (1, 3, 8)
    max_tokens: int | None = Field(default=None, ge=1)
    variants: tuple[str, ...] = ()
    define: dict[str, dict[str, Any]] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)

    def departures(self, variant: str) -> Mapping[str, Any]:
        """Dotted key -> value of one variant.

        Raises:
            ConfigError: there is no such variant; names the nearest.
        """
        known = {FULL: {}, **VARIANTS, **self.define}
        if variant in known:
            return known[variant]
        raise ConfigError(
            f"unknown variant {variant!r}{did_you_mean(variant, known)}; "
            f"there are: {', '.join(known)}; others go under "
            "[define.NAME]"
        )

    def config(self, variant: str, seed: int) -> RunConfig:
        """The configuration of one run of the grid.

        Raises:
            ConfigError: unknown variant, key or value.
        """
        overrides = [f"{key}={_toml(value)}" for key, value in self.departures(variant).items()]
        given = [*overrides, f"seed={seed}"]
        return validated(over(self.run, given_tree(None, given)), given)

    @property
    def names(self) -> tuple[str, ...]:
        """All variants, the full one first."""
        return tuple(dict.fromkeys([FULL, *self.variants]))


def read_study(file: Path) -> StudySettings:
    """Read a study file, and check every run of its grid before any is begun.

    Raises:
        ConfigError: what is wrong, in one line.
    """
    try:
        study = StudySettings.model_validate(read_toml(file))
    except ValidationError as error:
        raise ConfigError(f"{file}: {_first(error)}") from None
    here = file.resolve().parent
    study = study.model_copy(
        update={
            "folder": here / study.folder,
            "tasks": tuple(here / tasks for tasks in study.tasks),
        }
    )
    for variant in study.names:
        study.config(variant, study.seeds[0])
    return study


def _first(error: ValidationError) -> str:
    problem, known = error.errors()[0], StudySettings.model_fields
    if problem["type"] == "extra_forbidden":
        where = ".".join(map(str, problem["loc"]))
        return f"unknown key {where}{did_you_mean(where, known)}; there are: {', '.join(known)}"
    return first_problem(error)


def _toml(value: Any) -> str:
    """A value as `given_tree` reads it; tables inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
