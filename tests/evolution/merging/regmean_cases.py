"""RegMean by its formula: whole weights, whole forward passes, float64; and banks to try it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.genome.genome import Genome, NoiseField
from evolution.materialise.weights import rounded, weigh
from evolution.merging.regmean import Member
from evolution.merging.settings import RegMeanSettings
from tests.evolution.conftest import models_of, write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

TEXTS = ([[3, 20, 31, 5, 9, 40], [4, 9, 8]], [[5, 60, 33, 7], [6, 77], [7, 1, 2, 50, 19]])
"""Of two members. No two begin alike, so that every token of every text is a row."""

SETTINGS = RegMeanSettings(onward="member")


def bank_with_adapters(family: TinyFamily, folder: Path, cache: Path) -> Bank:
    """Base, three full seeds, and two adapters of low rank: `delta` and `epsilon`."""
    adapters = [
        write_adapter(folder / name, seed) for seed, name in enumerate(("delta", "epsilon"))
    ]
    return load_bank(models_of(family, *adapters), SpectralSettings(rank=4), cache)


def members_of(
    bank: Bank, *experts: Genome | str, weights: Sequence[float] = (1.0, 1.0)
) -> list[Member]:
    """Experts, or seeds by their names, with texts of their own."""
    genomes = [bank.seed_genome(each) if isinstance(each, str) else each for each in experts]
    return [Member(*each) for each in zip(genomes, TEXTS, weights, strict=True)]


def anybody(bank: Bank, seed: int, names: Sequence[str], *, rank: bool, noise: bool) -> Genome:
    """An expert with other coefficients of some anchors in each block, and perhaps mutations."""
    rng = np.random.default_rng(seed)
    coefficients = np.zeros((len(bank.blocks), len(bank.anchors)), np.float32)
    for index, anchor in enumerate(bank.anchors):
        if anchor.name in names:
            coefficients[:, index] = rng.uniform(-0.5, 1.2, len(bank.blocks))
    displacements = {
        name: rng.normal(0.0, 0.3, basis.values.shape) for name, basis in bank.bases.items() if rank
    }
    strengths = np.full(len(bank.blocks), 0.02, np.float32)
    return Genome(coefficients, displacements, {NoiseField(seed, "relative"): strengths * noise})


def added_by(bank: Bank, genome: Genome) -> dict[str, Tensor]:
    """What an expert adds to the base, tensor by tensor, in float64."""
    return {name: each.double() - bank.base[name].double() for name, each in weigh(bank, genome)}


def naive(
    bank: Bank, members: Sequence[Member], settings: RegMeanSettings = SETTINGS
) -> dict[str, Tensor]:
    """What the merge of some experts adds to the base, by the formula."""
    added = [added_by(bank, member.genome) for member in members]
    weights = [member.weight for member in members]
    shares = [weight / sum(weights) for weight in weights]
    merged = {
        name: sum((s * of[name] for s, of in zip(shares, added, strict=True)), torch.zeros(()))
        for name in bank.layout.shapes
    }
    read = [inputs_of(bank, member) for member in members]
    layers = sorted({_layer(name) for name in read[0]})
    for layer in layers:
        if layer and settings.onward == "merged":
            read = [inputs_of(bank, member, merged, before=layer) for member in members]
        for name in (name for name in read[0] if _layer(name) == layer):
            grams = [_gram(of[name], settings.shrink) for of in read]
            total = sum((w * g for w, g in zip(weights, grams, strict=True)), torch.zeros(()))
            ridge = settings.ridge * total.diagonal().mean() * torch.eye(len(total)).double()
            product = sum(
                (w * of[name] @ g for w, of, g in zip(weights, added, grams, strict=True)),
                torch.zeros(()),
            )
            merged[name] = product @ torch.linalg.inv(total + ridge)
    return merged


def inputs_of(
    bank: Bank, member: Member, merged: Mapping[str, Tensor] | None = None, before: int = 0
) -> dict[str, Tensor]:
    """Rows that each matrix is multiplied with while an expert reads; layers before one merged."""
    model = bank.model(torch.float32)
    state = model.state_dict(keep_vars=True)
    rows: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for name, tensor in rounded(bank, member.genome):
            given = tensor
            if merged is not None and 0 <= _layer(name) < before:
                given = (bank.base[name].double() + merged[name]).to(bank.dtype)
            state[name].copy_(given)
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and ".layers." in name:
                module.register_forward_pre_hook(_keep(rows, f"{name}.weight"))
        for text in member.texts:
            model(torch.tensor([list(text)]), use_cache=False)
    return {name: torch.cat(of).double() for name, of in rows.items()}


def _keep(rows: dict[str, list[Tensor]], name: str) -> Callable[..., None]:
    def hook(_: Any, given: tuple[Tensor, ...]) -> None:
        rows.setdefault(name, []).append(given[0][0])

    return hook


def _layer(name: str) -> int:
    """Number of a tensor's layer, -1 if it has none."""
    return int(name.split(".")[2]) if ".layers." in name else -1


def _gram(rows: Tensor, shrink: float) -> Tensor:
    gram = rows.T @ rows / len(rows)
    return torch.where(torch.eye(len(gram)).bool(), gram, shrink * gram)


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Largest distance of two experts' tensors, relative to the length of what is wanted there."""
    assert found.keys() == wanted.keys()
    largest = 0.0
    for name, tensor in wanted.items():
        # Where nothing is added float32 sums have the rounding of the base.
        length = max(float(tensor.norm()), 1e-3)
        largest = max(largest, float((found[name] - tensor).norm()) / length)
    return largest
