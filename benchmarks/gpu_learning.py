"""A merge of experts on what they can do, and a lesson, on a device: cost, plan and sameness."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.task_vectors import inner
from evolution.merging.regmean import Member, merge_by_regmean
from evolution.merging.settings import RegMeanSettings
from evolution.planning.lessons import plan_lesson
from evolution.planning.merging import plan_merge
from evolution.tutoring.lesson import teach
from evolution.tutoring.packing import Example
from evolution.tutoring.settings import GPU_STEPS, TutorSettings

CPU = torch.device("cpu")
WORDS = (100, 40_000)
"""Tokens that are drawn."""
TOKENS, ANSWER = 96, 16
"""Of a text or an example, and those of them that are its answer."""
APART = 0.02
"""Largest distance of an anchor from the one that the CPU makes, relative to its length."""

Made = Sequence[Anchor]
Work = Callable[[torch.device, torch.dtype], Made]


def learned(
    shape: str, bank: Bank, device: str, compare: bool, steps: int = GPU_STEPS
) -> list[dict[str, Any]]:
    """Rows of a merge of all seeds and of a lesson, each made twice.

    Args:
        shape: of the family.
        bank: whose seeds are merged; the first is taught.
        device: where to compute, as `cuda` or `cpu`.
        compare: whether the CPU makes the same again: for small families.
        steps: of the lesson.
    """
    drawn = np.random.default_rng(0)
    place = torch.device(device)
    compute = bank.dtype if place.type == "cuda" else torch.float32
    item = compute.itemsize
    seeds = [bank.seed_genome(name) for name in bank.seed_names[1:]]
    texts = drawn.integers(*WORDS, (len(seeds), RegMeanSettings().texts, TOKENS))
    members = [Member(seed, of.tolist()) for seed, of in zip(seeds, texts, strict=True)]
    settings = TutorSettings()
    learnt = drawn.integers(*WORDS, (settings.most_families(steps) * settings.instances, TOKENS))
    examples = [Example(tokens.tolist(), ANSWER) for tokens in learnt]
    read = RegMeanSettings().texts * TOKENS

    def merge(where: torch.device, compute: torch.dtype) -> Made:
        return merge_by_regmean("merge", bank, members, RegMeanSettings(), where, compute)

    def lesson(where: torch.device, compute: torch.dtype) -> Made:
        seed = seeds[0]
        taught = teach("lesson", bank, seed, examples, [], settings, steps, 0, where, compute)
        return [taught.anchor]

    planned = {
        "merge": plan_merge(bank.layout, len(members), read, True, item).memory,
        "lesson": plan_lesson(bank.layout, settings, steps, TOKENS, item).memory,
    }
    rows: list[dict[str, Any]] = []
    for name, work in {"merge": merge, "lesson": lesson}.items():
        first, _, _ = measured(work, place, compute)
        again, seconds, peak = measured(work, place, compute)
        row = {
            "learning": name,
            "family": shape,
            "device": device,
            "seconds": round(seconds, 2),
            "peak_bytes": peak,
            "planned_bytes": planned[name],
            "same_bits": [a.content_hash for a in first] == [a.content_hash for a in again],
        }
        if compare:
            here, there = (work(each, torch.float32) for each in (place, CPU))
            row["apart"] = round(distance(here, there), 6)
        rows.append(row)
    return rows


def measured(work: Work, place: torch.device, compute: torch.dtype) -> tuple[Made, float, int]:
    """What it makes, its seconds, and the bytes that it takes on a GPU at its peak (else 0)."""
    on_gpu = place.type == "cuda"
    held = 0
    if on_gpu:
        torch.cuda.synchronize(place)
        torch.cuda.reset_peak_memory_stats(place)
        held = torch.cuda.memory_allocated(place)
    begun = time.perf_counter()
    made = work(place, compute)
    if on_gpu:
        torch.cuda.synchronize(place)
    seconds = time.perf_counter() - begun
    return made, seconds, torch.cuda.max_memory_allocated(place) - held if on_gpu else 0


def distance(some: Made, others: Made) -> float:
    """The longest difference of two anchors of equal place, relative to the length of the other."""
    found = []
    for one, other in zip(some, others, strict=True):
        mine = {name: vector.to(CPU) for name, vector in one.vectors.items()}
        theirs = {name: vector.to(CPU) for name, vector in other.vectors.items()}
        if mine.keys() != theirs.keys():
            return math.inf
        length = math.fsum(inner(each, each) for each in theirs.values())
        apart = math.fsum(
            inner(vector, vector)
            - 2 * inner(vector, theirs[name])
            + inner(theirs[name], theirs[name])
            for name, vector in mine.items()
        )
        found.append(math.sqrt(max(apart, 0.0) / length))
    return max(found)


def goals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Equal bits when made again, no more memory than planned, and the CPU's anchors."""
    found = []
    for row in rows:
        name = f"{row['learning']} of {row['family']}"
        found.append(_goal(f"{name}: made again with equal bits", int(row["same_bits"]), "1", 1))
        if row["peak_bytes"]:
            share = row["peak_bytes"] / row["planned_bytes"]
            found.append(_goal(f"{name}: peak of what was planned", share, "x", "<= 1.1"))
        if "apart" in row:
            found.append(
                _goal(f"{name}: distance from the CPU's", row["apart"], "1", f"<= {APART}")
            )
    return found


def _goal(name: str, value: float, unit: str, goal: str | int) -> dict[str, Any]:
    met = value <= float(goal.removeprefix("<= ")) if isinstance(goal, str) else value == goal
    return {"name": name, "value": round(value, 5), "unit": unit, "goal": goal, "met": met}
