"""The published mutation, an SVD of every matrix of every child, against displacing the base's.

    python -m benchmarks.spectral [--rank 64] [--expert numbers] [--quick] [--json]

On the quickstart's family, for one expert: both mutations get the same noise on the first singular
values (strength 0.02 of the matrix). Printed for each kind of matrix: relative size of both
changes, overlap of the two subspaces (mean squared cosine of the principal angles, 1 is the same),
and how far the changes themselves agree (cosine); for the whole expert: change of logits on real
prompts and the seconds that a child takes. The paper's k is 256, the quickstart's 64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.offline.catalogue import WITHIN_REACH
from agents.offline.sketches import Sketch
from benchmarks.ladder import questions_of
from benchmarks.machine import describe_machine
from console.run.config import cache_folder
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.breeding.mutation import spectral
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--expert", default="numbers")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="a smoke test on a few matrices")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = measure(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    bank = load_bank(ModelSettings(), SpectralSettings(rank=options.rank), cache_folder())
    parent = bank.seed_genome(options.expert)
    begun = time.perf_counter()
    child, _ = spectral(parent, bank.geometry, np.random.default_rng(0))
    bred = time.perf_counter() - begun
    names = list(bank.layout.matrices)[: 7 if options.quick else None]
    child = Genome(child.coefficients, {name: child.displacements[name] for name in names})
    model = bank.model()
    materialise(bank, parent, model)
    prompts = questions(bank, 2 if options.quick else options.prompts)
    before = logits(model, prompts)
    found, published_seconds = published(bank, child, model)
    theirs = logits(model, prompts)
    begun = time.perf_counter()
    materialise(bank, child, model)
    ours_seconds = bred + time.perf_counter() - begun
    ours = logits(model, prompts)
    return {
        "bench": "spectral",
        "machine": describe_machine(),
        "rows": [
            *(summary(kind, rows) for kind, rows in found.items()),
            {
                "matrices": "whole expert",
                "seconds_published": round(published_seconds, 3),
                "seconds_ours": round(ours_seconds, 3),
                "faster": round(published_seconds / ours_seconds, 1),
                "logits_change_published": change(theirs, before),
                "logits_change_ours": change(ours, before),
                "logits_between_the_two": round(float((ours - theirs).norm() / before.norm()), 4),
                "same_next_token_published": agreement(theirs, before),
                "same_next_token_ours": agreement(ours, before),
            },
        ],
        "goals": [],
    }


def published(
    bank: Bank, child: Genome, model: Any
) -> tuple[dict[str, list[dict[str, float]]], float]:
    """The paper's mutation in the model's weights (appendix M.2), with the noise of `child`."""
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    seconds = 0.0
    for name, delta in child.displacements.items():
        parameter = model.get_parameter(name).detach()
        weights = parameter.float()
        begun = time.perf_counter()
        left, values, right = torch.linalg.svd(weights, full_matrices=False)
        noise = torch.zeros_like(values)
        noise[: len(delta)] = torch.from_numpy(delta.copy())
        moved = (left * (values + noise).clamp_min(0.0)) @ right
        parameter.copy_(moved)
        seconds += time.perf_counter() - begun
        basis = bank.bases[name]
        ours = (basis.left * torch.from_numpy(delta.copy())) @ basis.right.T
        rows[name.rpartition(".weight")[0].rpartition(".")[2]].append(
            compare(weights, moved - weights, ours)
            | {
                "overlap_left": overlap(left[:, : len(delta)], basis.left),
                "overlap_right": overlap(right[: len(delta)].T, basis.right),
            }
        )
    return rows, seconds


def compare(weights: Tensor, theirs: Tensor, ours: Tensor) -> dict[str, float]:
    return {
        "size_published": float(theirs.norm() / weights.norm()),
        "size_ours": float(ours.norm() / weights.norm()),
        "cosine": float((theirs * ours).sum() / (theirs.norm() * ours.norm())),
    }


def overlap(one: Tensor, other: Tensor) -> float:
    """Mean squared cosine of the principal angles between two subspaces."""
    return float((one.T @ other).square().sum() / one.shape[1])


def questions(bank: Bank, count: int) -> list[Any]:
    """Real questions of the offline scientist, as token ids."""
    asked = [
        questions_of(Sketch((entry.generator,)), 1, 1, 7)[0].text for entry in WITHIN_REACH[:count]
    ]
    chats = [[{"role": "user", "content": text}] for text in asked]
    return [
        bank.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        for chat in chats
    ]


def logits(model: Any, prompts: list[Any]) -> Tensor:
    """(tokens, vocabulary), float32, over all prompts."""
    with torch.no_grad():
        return torch.cat([model(**prompt).logits[0].float() for prompt in prompts])


def change(after: Tensor, before: Tensor) -> float:
    return round(float((after - before).norm() / before.norm()), 4)


def agreement(after: Tensor, before: Tensor) -> float:
    return round(float((after.argmax(-1) == before.argmax(-1)).float().mean()), 3)


def summary(kind: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    means = {key: round(statistics.mean(row[key] for row in rows), 4) for key in rows[0]}
    return {"matrices": kind, "count": len(rows)} | means


def table(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']['processor']}, {report['machine']['cores']} cores"]
    for row in report["rows"]:
        lines.append("  ".join(f"{key} {value}" for key, value in row.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
