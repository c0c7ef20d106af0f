"""Breeding: draw a crossover, then mutations, then bounds. Arithmetic on kilobytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evolution.bank.bank import Bank
from evolution.breeding.bounds import bound
from evolution.breeding.settings import BreedingSettings
from evolution.errors import OperatorError
from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry
from evolution.registry import Operator, get_operator
from memory.records import Json

_AMONG_SEEDS, _OF_A_MERGE = (0.0, 1.2), (0.6, 1.4)
"""Between which coefficients of a random genome lie."""


@dataclass(frozen=True)
class Offspring:
    """A child and how it came to be.

    Attributes:
        operator: crossover and mutations joined by `+`, as in `linear+spectral`.
        parameters: operator -> what it drew; `bounds` -> what had to be pulled back.
        parents: how many of the given parents, counted from the first, it descends from.
    """

    genome: Genome
    operator: str
    parameters: dict[str, Json]
    parents: int


def breed(
    bank: Bank, parents: Sequence[Genome], rng_seed: int, settings: BreedingSettings
) -> Offspring:
    """Breed one child. Equal arguments give equal bytes.

    Args:
        bank: gives lengths and angles; its weights are not read.
        parents: the first two are the parents; more serve crossovers that take more.
        rng_seed: source of everything that is drawn.
        settings: operators and bounds.

    Raises:
        OperatorError: no crossover of these settings can do with so few parents, or an operator
            gives no genome.
    """
    geometry = bank.geometry
    rng = np.random.default_rng(rng_seed)
    chosen = _draw_crossover(len(parents), rng, settings)
    parameters = chosen.validated(settings.crossover_parameters.get(chosen.name, {}))
    child, drawn = chosen.outcome(parents[: chosen.parents], geometry, rng, **parameters)
    operators, record = [chosen.name], {chosen.name: drawn}
    child = _mutate(child, geometry, rng, settings, operators, record)
    child = bounded(child, geometry, settings, record)
    return Offspring(child, "+".join(operators), dict(record), chosen.parents)


def random_genome(
    bank: Bank, rng_seed: int, settings: BreedingSettings, merges: Sequence[Sequence[int]] = ()
) -> Genome:
    """A random genome, not bred: the baseline that breeding and selection have to beat.

    It is made either of the seeds or of the columns of one merge, all of these equally likely: with
    every column at once a bank that has grown by merges gives little but noise. One coefficient
    per column for the whole model, then the same mutations and the same bounds as a child. Of
    seeds they are uniform in [0, 1.2], which covers averages (0.5 + 0.5), seeds (1 + 0), their sum
    (1 + 1) and a little beyond. The columns of a merge belong together: uniform in [0.6, 1.4],
    about the merge itself.

    Args:
        bank: gives lengths and angles; its weights are not read.
        rng_seed: source of everything that is drawn.
        settings: mutations and bounds.
        merges: for each merge that joined the bank, its columns of coefficients.
    """
    geometry = bank.geometry
    rng = np.random.default_rng(rng_seed)
    groups = [(range(geometry.seeds), _AMONG_SEEDS), *((each, _OF_A_MERGE) for each in merges)]
    columns, ends = groups[int(rng.integers(len(groups)))]
    row = np.zeros(geometry.anchors)
    row[list(columns)] = rng.uniform(*ends, size=len(columns))
    genome = Genome(np.tile(row.astype(np.float32), (len(geometry.blocks), 1)))
    record: dict[str, dict[str, Json]] = {}
    genome = _mutate(genome, geometry, rng, settings, [], record)
    return bounded(genome, geometry, settings, record)


def _draw_crossover(parents: int, rng: np.random.Generator, settings: BreedingSettings) -> Operator:
    """A crossover by mating weight, among those that this number of parents is enough for."""
    wanted = {
        get_operator("crossover", name): weight
        for name, weight in sorted(settings.crossovers.items())
        if weight > 0.0
    }
    possible = {
        operator: weight for operator, weight in wanted.items() if operator.parents <= parents
    }
    if not possible:
        least = min(operator.parents for operator in wanted)
        raise OperatorError(f"the configured crossovers need {least} parents, got {parents}")
    weights = np.array(list(possible.values()))
    return list(possible)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _mutate(
    genome: Genome,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: BreedingSettings,
    operators: list[str],
    record: dict[str, dict[str, Json]],
) -> Genome:
    """Apply each mutation with its probability; appends to `operators` and `record`."""
    for name, given in settings.mutations.items():
        if rng.random() >= settings.mutation_rate:
            continue
        operator = get_operator("mutation", name)
        genome, drawn = operator.outcome(genome, geometry, rng, **operator.validated(given))
        operators.append(name)
        record[name] = drawn
    return genome


def bounded(
    genome: Genome,
    geometry: Geometry,
    settings: BreedingSettings,
    record: dict[str, dict[str, Json]],
) -> Genome:
    """The genome within the bounds of the settings; what was pulled back goes into `record`."""
    found = bound(
        genome,
        geometry,
        settings.coefficient_bound,
        settings.displacement_bound,
        settings.noise_bound,
        settings.noise_fields,
    )
    if found.blocks or found.matrices:
        record["bounds"] = {"blocks": found.blocks, "matrices": found.matrices}
    if found.noisy or found.dropped:
        record.setdefault("bounds", {}).update(noisy=found.noisy, dropped=found.dropped)
    return found.genome


def parents_needed(settings: BreedingSettings) -> int:
    """How many parents the most demanding crossover that can be drawn takes."""
    return max(
        get_operator("crossover", name).parents
        for name, weight in settings.crossovers.items()
        if weight > 0.0
    )
