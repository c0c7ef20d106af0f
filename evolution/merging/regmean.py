"""RegMean: experts merged by what each does on the inputs that it is right on.

Jin et al. 2023, arXiv 2212.09849. With members k, their task vectors `D_k` and the Gram matrices
`G_k = X_k^T X_k / rows` of what a matrix is multiplied by while member k reads its texts,

    D = (sum_k w_k D_k G_k) (sum_k w_k G_k + lambda I)^-1

minimises `sum_k (w_k / rows_k) || (W - W_k) X_k^T ||^2`, up to the ridge. Off-diagonals of
`G_k` are shrunk.
RegMean++ (arXiv 2508.03121): what enters a layer is what the layers before it, merged, make of the
texts, and not what those of each member make of them.

Factors of low rank stay so: of `B A`, `B` is kept and `A` becomes `A G_k (sum_k w_k G_k + lambda
I)^-1`. What several members add along the same `B` is one sum, so a merge has as many columns as
its members have left factors in the bank, whatever they are merges of themselves: one for each seed
of low rank, one for the spectral bases, and one, dense, for all the rest. With ones for
coefficients the columns are the merge.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.fingerprint import tensors_hash
from evolution.bank.task_vectors import Dense, LowRank, TaskVector
from evolution.errors import MergeError
from evolution.genome.genome import Genome
from evolution.materialise.weights import weigh
from evolution.merging.layerwise import Inputs, LayerwiseModel
from evolution.merging.settings import RegMeanSettings
from evolution.stages import Stages, no_stages
from memory.hashing import json_hash

_REST = "rest"

_COLUMNS = 256
"""Columns of a Gram matrix that are computed at a time."""


@dataclass(frozen=True)
class Member:
    """An expert that is merged.

    Attributes:
        genome: the expert.
        texts: what it is right on, as token ids: prompts with its own replies.
        weight: how much its inputs count, `w_k`.
    """

    genome: Genome
    texts: Sequence[Sequence[int]]
    weight: float = 1.0


_Terms = dict[str, Float[Tensor, " ..."]]
"""What a member adds to one tensor: root -> right factors along its left ones, (r, n); and under
`_REST` what is not of low rank."""


@dataclass
class _Columns:
    """The columns of a merge while they are made: root -> tensor -> its task vector."""

    vectors: dict[str, dict[str, TaskVector]] = field(default_factory=dict)

    def add(self, root: str, name: str, vector: TaskVector) -> None:
        self.vectors.setdefault(root, {})[name] = vector


def merge_by_regmean(
    name: str,
    bank: Bank,
    members: Sequence[Member],
    settings: RegMeanSettings,
    device: torch.device | None = None,
    compute: torch.dtype = torch.float32,
    stages: Stages = no_stages,
) -> tuple[Anchor, ...]:
    """Merge experts into anchors, which are not yet part of the bank.

    Weights and Gram matrices of one layer are in memory at a time. Equal arguments give equal bits
    on the same machine.

    Args:
        name: of the merge; each anchor is called by it and by what it stands for.
        bank: that the members belong to.
        members: two or more, each with texts.
        settings: of the method.
        device: where to compute; where the bank is by default.
        compute: number format in which the members read; sums are float32, and solved in float64.
        stages: called with the layers that are done.

    Returns:
        The columns, of which the sum is the merge.

    Raises:
        MergeError: there are too few members or texts, or the architecture cannot be read layer by
            layer.
        GenomeError: a genome does not fit the bank.
    """
    if len(members) < 2 or any(not member.texts for member in members):
        raise MergeError(f"{name}: RegMean needs two members, and texts of each")
    place = bank.device if device is None else device
    model = LayerwiseModel(bank, place, compute)
    readings = [model.begin(member.genome, member.texts) for member in members]
    by_merge = settings.onward == "merged"
    columns = _Columns()
    terms = _TermsOf(bank, place)
    layered: set[str] = set()
    for layer in range(len(model)):
        stages(f"merging: {name}", layer, len(model))
        names = model.tensors(layer)
        layered.update(names)
        inputs = [model.read(layer, reading, onward=not by_merge) for reading in readings]
        _solve(columns, terms, names, members, inputs, settings)
        if by_merge and layer + 1 < len(model):
            model.advance(layer, readings, _merged(bank, columns, names, place))
        model.release(layer)
    outer = [tensor for tensor in bank.layout.shapes if tensor not in layered]
    _solve(columns, terms, outer, members, [{} for _ in members], settings)
    stages(f"merging: {name}", len(model), len(model))
    return tuple(_anchors(name, bank, columns))


def unit(bank: Bank, anchors: Sequence[Anchor], coefficient: float = 1.0) -> Genome:
    """The genome of a merge, whose columns are part of the bank: equal coefficients in each."""
    names = {anchor.name for anchor in anchors}
    row = [coefficient if anchor.name in names else 0.0 for anchor in bank.anchors]
    return Genome(np.tile(np.array(row, np.float32), (len(bank.blocks), 1)))


def _solve(
    columns: _Columns,
    terms: _TermsOf,
    names: Sequence[str],
    members: Sequence[Member],
    inputs: Sequence[Inputs],
    settings: RegMeanSettings,
) -> None:
    """Add the task vectors of some tensors to the columns."""
    weights = [member.weight for member in members]
    for alike in _by_inputs(names, inputs):
        every = {name: [terms.of(member.genome, name) for member in members] for name in alike}
        added = {name: found for name, found in every.items() if any(found)}
        if not added:
            continue
        if all(alike[0] in of for of in inputs):
            given = [of[alike[0]] for of in inputs]
            _regress(columns, terms, added, weights, given, settings)
        else:
            shares = [weight / sum(weights) for weight in weights]
            for name, found in added.items():
                for root, total in _summed(found, shares).items():
                    columns.add(root, name, terms.column(root, name, total.float()))


def _regress(
    columns: _Columns,
    terms: _TermsOf,
    added: Mapping[str, Sequence[_Terms]],
    weights: Sequence[float],
    inputs: Sequence[Sequence[Tensor]],
    settings: RegMeanSettings,
) -> None:
    """Merge tensors of the same inputs: tensor -> terms of the members, in their order."""
    grams = [gram(given, settings.shrink) for given in inputs]
    factor = factorised(grams, weights, settings.ridge)
    for name, found in added.items():
        for root, total in _summed(found, weights, grams).items():
            gated = torch.cholesky_solve(total.T, factor).T
            columns.add(root, name, terms.column(root, name, gated.float()))


def _by_inputs(names: Sequence[str], inputs: Sequence[Inputs]) -> list[list[str]]:
    """Tensors in groups of the same inputs; those without any stand alone."""
    groups: dict[Any, list[str]] = {}
    for name in names:
        given = tuple(id(rows) for of in inputs for rows in of.get(name, ()))
        groups.setdefault(given or name, []).append(name)
    return list(groups.values())


def gram(inputs: Sequence[Float[Tensor, " ..."]], shrink: float) -> Float[Tensor, "n n"]:
    """Mean outer product of the rows, off-diagonals shrunk."""
    rows = torch.cat([each.reshape(-1, each.shape[-1]) for each in inputs]).float()
    outer = torch.empty(rows.shape[1], rows.shape[1], device=rows.device)
    edges = [*range(0, rows.shape[1], _COLUMNS), rows.shape[1]]
    for start, end in itertools.pairwise(edges):
        # It is symmetric: what lies below the diagonal is copied.
        part = rows[:, start:end].T @ rows[:, start:]
        outer[start:end, start:] = part
        outer[start:, start:end] = part.T
    diagonal = outer.diagonal() / len(rows)
    outer *= shrink / len(rows)
    outer.diagonal().copy_(diagonal)
    return outer


def factorised(
    grams: Sequence[Tensor], weights: Sequence[float], ridge: float
) -> Float64[Tensor, "n n"]:
    """Cholesky factor of `sum_k w_k G_k + lambda I`; in float64, for the ridge is a thousandth.

    Raises:
        MergeError: inputs are not finite, or so few that the ridge does not make up for them.
    """
    total = torch.zeros_like(grams[0], dtype=torch.float64)
    for weight, of_member in zip(weights, grams, strict=True):
        total.add_(of_member, alpha=weight)
    least = torch.finfo(torch.float32).tiny
    total.diagonal().add_(ridge * total.diagonal().mean().clamp_min(least))
    if not total.isfinite().all():
        raise MergeError("a member's activations are not finite: read them in float32 or bfloat16")
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(total)
    if failed:
        raise MergeError(
            "the members' inputs are too few to be solved for: raise breeding.regmean.ridge or "
            "breeding.regmean.texts"
        )
    return factor


def _summed(
    terms: Sequence[_Terms], weights: Sequence[float], grams: Sequence[Tensor] | None = None
) -> dict[str, Float64[Tensor, "rows n"]]:
    """`sum_k w_k T_k G_k` of the members' terms, root by root; without Gram matrices, their sum."""
    found: dict[str, Tensor] = {}
    for number, (of_member, weight) in enumerate(zip(terms, weights, strict=True)):
        for root, term in of_member.items():
            product = weight * term.double()
            if grams is not None:
                product = product @ grams[number].double()
            found[root] = found[root] + product if root in found else product
    return found


class _TermsOf:
    """Splits what experts add to the base by left factors.

    Args:
        bank: of the experts.
        device: where the terms are wanted.
    """

    def __init__(self, bank: Bank, device: torch.device) -> None:
        self._bank = bank
        self._device = device
        self._left: dict[str, Mapping[str, Tensor]] = {}

    def of(self, genome: Genome, name: str) -> _Terms:
        """What one expert adds to one tensor."""
        bank, fitted = self._bank, self._bank.geometry.fit(genome)
        row = fitted.coefficients[bank.layout.tensor_blocks[name]]
        others, terms = row.copy(), _Terms()

        def add(root: str, term: Tensor) -> None:
            terms[root] = terms[root] + term if root in terms else term

        for index in row.nonzero()[0]:
            anchor = bank.anchors[index]
            vector = anchor.vectors.get(name)
            if isinstance(vector, LowRank):
                scale = float(row[index]) * vector.scale
                add(anchor.left, scale * vector.down.to(self._device))
            if vector is None or isinstance(vector, LowRank):
                others[index] = 0.0
        delta = fitted.displacements.get(name)
        if delta is not None:
            right = bank.bases[name].right.T.to(self._device)
            shift = torch.from_numpy(delta.copy()).to(self._device)
            add(bank.spectral_root, shift[:, None] * right)
        rest = self._rest(fitted, name, others)
        return terms if rest is None else terms | {_REST: rest}

    def _rest(self, genome: Genome, name: str, row: np.ndarray) -> Tensor | None:
        """Full differences and noise."""
        terms = self._bank.geometry.noise_terms(genome, name) if genome.noise else ()
        if not row.any() and not terms:
            return None
        block = self._bank.layout.tensor_blocks[name]
        coefficients = genome.coefficients.copy()
        coefficients[block] = row
        only = replace(genome, coefficients=coefficients, displacements={})
        [(_, weights)] = weigh(self._bank, only, self._device, {name})
        return weights - self._bank.base[name].to(self._device).float()

    def column(self, root: str, name: str, term: Float[Tensor, " ..."]) -> TaskVector:
        """A task vector along the left factors of a root, or a full difference."""
        if root == _REST:
            # What bf16 cannot resolve of a difference is far below the weights' resolution.
            values = term.to(torch.bfloat16).to(self._bank.device).contiguous()
            none = torch.empty(0, device=values.device)
            return Dense(values, none.long(), none)
        if root not in self._left:
            self._left[root] = self._bank.left_factors(root) or {}
        return LowRank(self._left[root][name], term.to(self._bank.device).contiguous(), 1.0)


def _merged(
    bank: Bank, columns: _Columns, names: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """Weights of some tensors of the merge."""
    weights = {name: bank.base[name].to(device).float() for name in names}
    for vectors in columns.vectors.values():
        for name in names:
            vector = vectors.get(name)
            if isinstance(vector, LowRank):
                weights[name] = weights[name] + (vector.up @ vector.down).to(device)
            elif vector is not None:
                weights[name] = weights[name] + vector.values.to(device).float()
    return {name: tensor.to(bank.dtype) for name, tensor in weights.items()}


def _anchors(name: str, bank: Bank, columns: _Columns) -> list[Anchor]:
    names = {anchor.left: f".{anchor.name}" for anchor in reversed(bank.anchors)}
    # No seed has a plus sign in its name.
    own_names = {bank.spectral_root: "+spectral", _REST: "+rest"}
    names = dict(reversed(names.items())) | own_names
    found = []
    for root, vectors in ((root, columns.vectors.get(root, {})) for root in names):
        if not vectors:
            continue
        own = root != _REST
        parts = [
            (f"{tensor}|{part}", held)
            for tensor, vector in vectors.items()
            for part, held in vars(vector).items()
            if isinstance(held, Tensor) and (part == "down" or not own)
        ]
        content = json_hash([root, tensors_hash(parts)], 32)
        label = f"{name}{names[root]}"
        found.append(Anchor(label, content, vectors, root if own else ""))
    return found
