"""What a merge by RegMean costs beside what it is made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from evolution.bank.anchors import save_anchor
from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise
from evolution.merging.layerwise import LayerwiseModel
from evolution.merging.regmean import Member, merge_by_regmean, unit
from evolution.merging.settings import RegMeanSettings

SECONDS, PASSES, MATERIALISE, MEGABYTES = 10.0, 2.0, 1.5, 35.0
"""Goals, for three seeds of rank 16 of a model of 135M."""


def costs(bank: Bank, members: Sequence[Member], repeats: int, scratch: Path) -> dict[str, Any]:
    """Seconds, as medians of repeats in turn, and sizes.

    Args:
        bank: of the members; the columns of the merge join it.
        members: what is merged.
        repeats: of each timing.
        scratch: for the files.
    """
    settings = RegMeanSettings()
    anchors = merge_by_regmean("merge", bank, members, settings)

    def merging(onward: Literal["member", "merged"]) -> Callable[[], object]:
        chosen = settings.model_copy(update={"onward": onward})
        return lambda: merge_by_regmean("merge", bank, members, chosen)

    merge, twice, reading = _medians(
        repeats, merging("member"), merging("merged"), lambda: _read(bank, members)
    )
    paths = [scratch / f"{anchor.content_hash}.safetensors" for anchor in anchors]
    for anchor, path in zip(anchors, paths, strict=True):
        save_anchor(anchor, path)
    megabytes = [path.stat().st_size / 1e6 for path in paths]

    model = bank.model()
    shares = np.full((len(members), len(bank.blocks)), 1 / len(members))
    plain = bank.geometry.blend([member.genome for member in members], shares)
    bank.append(*anchors)
    gated = unit(bank, anchors, settings.scale)
    both = bank.geometry.blend([plain, gated], np.full((2, len(bank.blocks)), 0.5))

    def written(genome: Genome) -> Callable[[], object]:
        return lambda: materialise(bank, genome, model)

    without, merged, bred = _medians(5 * repeats, written(plain), written(gated), written(both))
    return {
        "threads": torch.get_num_threads(),
        "merge_seconds": {"RegMean": round(merge, 2), "RegMean++": round(twice, 2)},
        "reading_seconds": round(reading, 2),
        "anchor_megabytes": [round(size, 1) for size in megabytes],
        "materialise_seconds": {
            "mean of the seeds": round(without, 3),
            "merge": round(merged, 3),
            "half the one, half the other": round(bred, 3),
        },
        "goals": [
            _goal("RegMean of the seeds", merge, "s", SECONDS),
            _goal("RegMean / a plain pass of its texts", merge / reading, "x", PASSES),
            _goal("RegMean++ of the seeds", twice, "s", SECONDS),
            _goal("RegMean++ / a plain pass of its texts", twice / reading, "x", PASSES),
            _goal("materialise the merge / the mean", merged / without, "x", MATERIALISE),
            _goal("materialise a child of both / the mean", bred / without, "x", MATERIALISE),
            _goal("anchors of a merge on disk", sum(megabytes), "MB", MEGABYTES),
        ],
    }


def _read(bank: Bank, members: Sequence[Member]) -> None:
    """A plain forward pass of all texts, layer by layer, nothing kept."""
    model = LayerwiseModel(bank, bank.device, torch.float32)
    readings = [model.begin(member.genome, member.texts) for member in members]
    for layer in range(len(model)):
        for reading in readings:
            model.read(layer, reading)
        model.release(layer)


def _medians(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of each, in turn, so that what else the machine does is on all of them."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, seconds, strict=True):
            begun = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken) for taken in seconds]


def _goal(name: str, value: float, unit_of: str, most: float) -> dict[str, Any]:
    met = value <= most
    return {"name": name, "value": round(value, 2), "unit": unit_of, "goal": most, "met": met}
