"""The recipe of an expert: its coordinates in the bank, for people, programs and mergekit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from evolution.bank.bank import Bank
from evolution.errors import GenomeError
from evolution.exporting.card import About
from evolution.genome.genome import Genome, NoiseField
from evolution.genome.noise import GENERATOR
from memory.messages import first_line
from memory.records import Json

FORMAT = "acdc-recipe-1"


@dataclass(frozen=True)
class Sources:
    """Where the checkpoints are that a bank was made of, as another program can find them.

    Attributes:
        base: hub id or folder; None where the mean of the seeds is the base.
        seeds: name -> hub id or folder.
        adapters: names of the seeds that are LoRA adapters on the base.
        published_base: hub id of what the base was converted from, where that is known.
    """

    base: str | None
    seeds: Mapping[str, str]
    adapters: frozenset[str] = frozenset()
    published_base: str | None = None


def recipe(bank: Bank, genome: Genome, about: About) -> dict[str, Json]:
    """Everything that the weights follow from, besides the checkpoints themselves."""
    fitted = bank.geometry.fit(genome)
    anchors: list[Json] = [
        {
            "name": anchor.name,
            "content_hash": anchor.content_hash,
            "coefficients": fitted.coefficients[:, index].tolist(),
        }
        for index, anchor in enumerate(bank.anchors)
        if fitted.coefficients[:, index].any()
    ]
    noise: list[Json] = [
        {"seed": field.seed, "scale": field.scale, "strengths": strengths.tolist()}
        for field, strengths in fitted.noise.items()
    ]
    displacements: dict[str, Json] = {
        name: delta.tolist() for name, delta in fitted.displacements.items()
    }
    return {
        "format": FORMAT,
        "genome": bank.genome_id(genome),
        "expert": about.expert.model_dump(mode="json"),
        "lineage": [ancestor.model_dump(mode="json") for ancestor in about.lineage],
        "skills": {skill.family: round(skill.rate, 4) for skill in about.skills},
        "dtype": _dtype(bank),
        "base": bank.base_hash,
        "blocks": list(bank.blocks),
        "anchors": anchors,
        "spectral": dict(bank.recipe) if displacements else None,
        "displacements": displacements,
        "noise_generator": GENERATOR if noise else None,
        "noise": noise,
    }


def genome_of(bank: Bank, written: Mapping[str, Any]) -> Genome:
    """The genome that a recipe describes, in a bank that holds the same checkpoints.

    Raises:
        GenomeError: the recipe is damaged, or names a checkpoint that the bank does not hold.
    """
    columns = {anchor.content_hash: index for index, anchor in enumerate(bank.anchors)}
    return read_genome(written, columns, len(bank.blocks))


def read_genome(written: Mapping[str, Any], columns: Mapping[str, int], blocks: int) -> Genome:
    """The genome that a recipe describes.

    Args:
        written: what `recipe` gave, as JSON keeps it.
        columns: content hash of each anchor -> its column.
        blocks: how many a genome has.

    Raises:
        GenomeError: the recipe is damaged, or names a checkpoint that has no column.
    """
    coefficients = np.zeros((blocks, len(columns)), np.float32)
    try:
        for anchor in written["anchors"]:
            if anchor["content_hash"] not in columns:
                raise GenomeError(f"the bank holds no checkpoint {anchor['content_hash']!r}")
            coefficients[:, columns[anchor["content_hash"]]] = anchor["coefficients"]
        return Genome(
            coefficients,
            {name: np.array(delta, np.float32) for name, delta in written["displacements"].items()},
            {
                NoiseField(part["seed"], part["scale"]): np.array(part["strengths"], np.float32)
                for part in written["noise"]
            },
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise GenomeError(f"the recipe is damaged: {first_line(error)}") from error


def mergekit_recipe(bank: Bank, genome: Genome, sources: Sources) -> tuple[str | None, str | None]:
    """A mergekit configuration of the same merge; or None, and the reason.

    Args:
        bank: that the genome belongs to.
        genome: expressible if nothing is displaced and all of its anchors are checkpoints.
        sources: where those are.
    """
    fitted = bank.geometry.fit(genome)
    used = {
        anchor.name: fitted.coefficients[:, index].astype(float)
        for index, anchor in enumerate(bank.anchors)
        if fitted.coefficients[:, index].any()
    }
    if fitted.displacements or fitted.noise:
        what = "singular values" if fitted.displacements else "single weights"
        return None, f"mergekit cannot express mutations of {what}"
    strange = [name for name in used if name not in sources.seeds]
    if strange:
        return (
            None,
            f"the anchor {strange[0]} was merged by this run and is not a published checkpoint",
        )
    return _dump(bank, _merge(bank, used, sources)), None


def _merge(bank: Bank, used: Mapping[str, np.ndarray], sources: Sources) -> dict[str, Any]:
    if sources.base is None:
        models = _models(bank, _around_the_mean(bank, used), sources)
        return {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    if not used:
        return {"merge_method": "passthrough", "models": [{"model": sources.base}]}
    return {
        "merge_method": "task_arithmetic",
        "base_model": sources.base,
        "models": _models(bank, used, sources),
        "parameters": {"normalize": False, "lambda": 1.0},
    }


def _models(
    bank: Bank, weights: Mapping[str, np.ndarray], sources: Sources
) -> list[dict[str, Any]]:
    found = []
    for name, values in weights.items():
        place = sources.seeds[name]
        reference = f"{sources.base}+{place}" if name in sources.adapters else place
        found.append({"model": reference, "parameters": {"weight": _setting(bank, values)}})
    return found


def _around_the_mean(bank: Bank, used: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of the seeds themselves where their mean is the base: `l_i + (1 - sum l) / S`."""
    names = [name for name in bank.seed_names if name != bank.base_name]
    nothing = np.zeros(len(bank.blocks))
    rows = {name: used.get(name, nothing) for name in names}
    rest = (1.0 - np.sum(list(rows.values()), axis=0)) / len(names)
    return {name: row + rest for name, row in rows.items()}


def _setting(bank: Bank, values: np.ndarray) -> float | list[dict[str, Any]]:
    """One number, or a number for each block, selected by a part of its tensors' names."""
    if len(set(values.tolist())) == 1:
        return float(values[0])
    filters: dict[str, float] = {}
    for name, block in bank.layout.tensor_blocks.items():
        part, label = name, bank.blocks[block]
        if label.startswith("layers."):
            number = f".{label.rpartition('.')[2]}."
            part = name[: name.index(number) + len(number)]
        filters[part] = float(values[block])
    return [{"filter": part, "value": value} for part, value in filters.items()]


def _dtype(bank: Bank) -> str:
    return str(bank.dtype).removeprefix("torch.")


def _dump(bank: Bank, merge: Mapping[str, Any]) -> str:
    whole = {**merge, "dtype": "float32", "out_dtype": _dtype(bank)}
    return str(yaml.safe_dump(whole, sort_keys=False, width=100))
