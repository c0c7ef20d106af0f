"""Merges and routes that are tried beside RegMean, each a formula of its paper.

Task vectors are `D_i = B_i A_i`, of rank r, with singular values `D_i = U_i S_i V_i^T`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from benchmarks.merging_bench import Text
from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.task_vectors import LowRank
from evolution.genome.genome import Genome
from memory.hashing import json_hash

Loss = Callable[[Float[Tensor, "tokens vocabulary"], Tensor], Tensor]
"""Logits at the places of a reply, and its tokens -> what is minimised."""


def tsv_m(vectors: Sequence[LowRank]) -> LowRank:
    """Task singular vectors (arXiv 2412.00081): `U' S V'^T`, all `U_i` made orthogonal at once."""
    parts = [_svd(vector) for vector in vectors]
    left = torch.cat([u for u, _, _ in parts], dim=1)
    right = torch.cat([v for _, _, v in parts])
    lengths = torch.cat([s for _, s, _ in parts])
    return _low_rank(_orthogonal(left) * lengths, _orthogonal(right))


def iso_c(vectors: Sequence[LowRank]) -> LowRank:
    """Isotropic merge (arXiv 2502.04959): `sum_i D_i = U S V^T` becomes `mean(S) U V^T`.

    The mean is over the singular values that are not zero: over all of them, as published for full
    fine-tuning, it would leave next to nothing of factors.
    """
    ups, downs = _factors(vectors)
    u, s, v = _svd(LowRank(torch.cat(ups, dim=1), torch.cat(downs), 1.0))
    return _low_rank(u * s.mean(), v)


def knots_ties(vectors: Sequence[LowRank], density: float = 0.5) -> LowRank:
    """KnOTS (arXiv 2410.19735): `[D_1 .. D_K] = U S [V_1 .. V_K]^T`, TIES of the `V_i`."""
    ups, downs = _factors(vectors)
    basis, rest = torch.linalg.qr(torch.cat(ups, dim=1))
    ranks = [up.shape[1] for up in ups]
    wide = [part @ down for part, down in zip(rest.split(ranks, dim=1), downs, strict=True)]
    u, s, v = torch.linalg.svd(torch.cat(wide, dim=1), full_matrices=False)
    merged = ties(torch.stack(v.split([down.shape[1] for down in downs], dim=1)), density)
    return _low_rank(basis @ u * s, merged)


def core_ties(vectors: Sequence[LowRank], density: float = 0.5) -> LowRank:
    """Core Space (arXiv 2509.17786): TIES of `U^T D_i V`, in bases of all `B_i` and all `A_i`."""
    ups, downs = _factors(vectors)
    left = torch.linalg.svd(torch.cat(ups, dim=1), full_matrices=False)[0]
    right = torch.linalg.svd(torch.cat(downs), full_matrices=False)[2]
    cores = [left.T @ up @ (down @ right.T) for up, down in zip(ups, downs, strict=True)]
    return _low_rank(left @ ties(torch.stack(cores), density), right)


def ties(values: Float64[Tensor, "members m n"], density: float) -> Float64[Tensor, "m n"]:
    """TIES (arXiv 2306.01708): trim, elect signs, mean of what agrees."""
    flat = values.flatten(1).abs()
    kept = max(1, round(density * flat.shape[1]))
    least = flat.topk(kept, dim=1).values[:, -1]
    trimmed = torch.where(values.abs() >= least[:, None, None], values, 0.0)
    agreeing = torch.where(trimmed.sign() == trimmed.sum(dim=0).sign(), trimmed, 0.0)
    return agreeing.sum(dim=0) / (agreeing != 0).sum(dim=0).clamp_min(1)


def merged(
    name: str, seeds: Sequence[Anchor], method: Callable[[Sequence[LowRank]], LowRank]
) -> Anchor:
    """One anchor from adapters' factors, matrix by matrix."""
    alike = [factors for tensor in seeds[0].vectors if (factors := _of(seeds, tensor))]
    vectors = dict(zip(seeds[0].vectors, map(method, alike), strict=True))
    content = json_hash([name, *(seed.content_hash for seed in seeds)], 32)
    return Anchor(name, content, vectors)


def overlap(seeds: Sequence[Anchor]) -> float:
    """Mean of `||U_i^T U_j||_F^2 / r` over matrices and pairs: where it is 0, TSV-M is the sum."""
    shares = []
    for tensor in seeds[0].vectors:
        lefts = [_svd(vector)[0] for vector in _of(seeds, tensor)]
        for place, one in enumerate(lefts):
            shares += [float((one.T @ u).square().sum()) / one.shape[1] for u in lefts[:place]]
    return float(np.mean(shares))


def attention_of(anchor: Anchor) -> Anchor:
    """What an anchor adds to attention alone."""
    vectors = {name: each for name, each in anchor.vectors.items() if ".self_attn." in name}
    content = json_hash([anchor.content_hash, "attention"], 32)
    return Anchor(f"{anchor.name}.attention", content, vectors, anchor.root)


def stretched(bank: Bank, lengths: Mapping[str, Float[np.ndarray, " layers"] | float]) -> Genome:
    """A genome of anchors by name, each with one coefficient for all layers, or one for each."""
    rows = np.zeros((len(bank.blocks), len(bank.anchors)), np.float32)
    layers = [block.startswith("layers.") for block in bank.blocks]
    for column, anchor in enumerate(bank.anchors):
        rows[layers, column] = lengths.get(anchor.name, 0.0)
    return Genome(rows)


def thirds(layers: int, *lengths: float) -> Float[np.ndarray, " layers"]:
    """One coefficient for each third of the depth."""
    return np.array([lengths[3 * layer // layers] for layer in range(layers)], np.float32)


def entropy(logits: Float[Tensor, "tokens vocabulary"], tokens: Tensor) -> Tensor:
    """Of the next token, as AdaMerging (arXiv 2310.02575) minimises it; needs no right answer."""
    logs = logits.log_softmax(dim=-1)
    return -(logs.exp() * logs).sum(dim=-1).mean()


def surprise(logits: Float[Tensor, "tokens vocabulary"], tokens: Tensor) -> Tensor:
    """Negative log-likelihood of the reply that is given."""
    return nn.functional.cross_entropy(logits, tokens)


def adapted(
    bank: Bank,
    anchors: Sequence[Anchor],
    texts: Sequence[Text],
    loss: Loss,
    start: float,
    steps: int = 24,
    batch: int = 8,
    rate: float = 0.03,
) -> Genome:
    """Coefficients of anchors of low rank, layer by layer, by Adam: `base + sum_k c_k D_k`."""
    model = bank.model(torch.float32)
    learned = torch.full((len(bank.blocks), len(anchors)), start, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=rate)
    generator = torch.Generator().manual_seed(0)
    end = bank.tokenizer.eos_token_id

    def added(name: str, given: Tensor, output: Tensor) -> Tensor:
        row = learned[bank.layout.tensor_blocks[name]]
        for coefficient, vector in zip(row, _of(anchors, name), strict=True):
            output = output + coefficient * _applied(vector, given)
        return output

    with _at_matrices(model, anchors[0].vectors, added):
        order: list[int] = []
        for _ in range(steps):
            if len(order) < batch:
                order += torch.randperm(len(texts), generator=generator).tolist()
            drawn, order = [texts[index] for index in order[:batch]], order[batch:]
            rows = [torch.tensor([*text.tokens, end]) for text in drawn]
            # Attention looks back only: what fills up a row changes nothing before it.
            padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            hidden = model.base_model(input_ids=padded, use_cache=False).last_hidden_state
            ends = [slice(len(text.prompt), len(text.tokens) + 1) for text in drawn]
            ahead = [
                each[at.start - 1 : at.stop - 1] for each, at in zip(hidden, ends, strict=True)
            ]
            replies = torch.cat([row[at] for row, at in zip(rows, ends, strict=True)])
            value = loss(model.get_output_embeddings()(torch.cat(ahead)), replies)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    layers = [block.startswith("layers.") for block in bank.blocks]
    found = learned.detach().numpy()[layers]
    return stretched(bank, {a.name: found[:, k] for k, a in enumerate(anchors)})


@torch.inference_mode()
def norms(
    bank: Bank, seeds: Sequence[Anchor], prompts: Sequence[Sequence[int]]
) -> dict[str, Float64[np.ndarray, "prompts seeds"]]:
    """LoGo (arXiv 2511.07129): matrix -> `||B_i A_i h||` at the last token of each prompt."""
    model = bank.model(torch.float32)
    found: dict[str, list[list[float]]] = {}

    def kept(name: str, given: Tensor, output: Tensor) -> Tensor:
        lengths = [float(_applied(each, given[0, -1]).norm()) for each in _of(seeds, name)]
        found.setdefault(name, []).append(lengths)
        return output

    with _at_matrices(model, seeds[0].vectors, kept):
        for prompt in prompts:
            model.base_model(input_ids=torch.tensor([list(prompt)]), use_cache=False)
    return {name: np.array(rows) for name, rows in found.items()}


@contextmanager
def _at_matrices(
    model: Any, names: Mapping[str, Any], change: Callable[[str, Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Let something see, and change, what the linear modules of some matrices give."""

    def hook(name: str) -> Any:
        return lambda _, given, output: change(name, given[0], output)

    hooks = [
        module.register_forward_hook(hook(f"{name}.weight"))
        for name, module in model.named_modules()
        if f"{name}.weight" in names
    ]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _of(anchors: Sequence[Anchor], tensor: str) -> list[LowRank]:
    found = [anchor.vectors[tensor] for anchor in anchors]
    if not all(isinstance(vector, LowRank) for vector in found):
        raise TypeError(f"{tensor}: these variants are for adapters of low rank")
    return [vector for vector in found if isinstance(vector, LowRank)]


def _applied(vector: LowRank, given: Float[Tensor, "*_ n"]) -> Float[Tensor, "*_ m"]:
    return vector.scale * (given @ vector.down.T @ vector.up.T)


def _factors(vectors: Sequence[LowRank]) -> tuple[list[Tensor], list[Tensor]]:
    return [v.scale * v.up.double() for v in vectors], [v.down.double() for v in vectors]


def _svd(vector: LowRank) -> tuple[Tensor, Tensor, Tensor]:
    """Thin, in float64: (m, r), (r,), (r, n)."""
    left, upper = torch.linalg.qr(vector.scale * vector.up.double())
    right, lower = torch.linalg.qr(vector.down.double().T)
    u, s, v = torch.linalg.svd(upper @ lower.T)
    return left @ u, s, v @ right.T


def _orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal columns, or rows."""
    p, _, q = torch.linalg.svd(matrix, full_matrices=False)
    product: Tensor = p @ q
    return product


def _low_rank(up: Tensor, down: Tensor) -> LowRank:
    return LowRank(up.float().contiguous(), down.float().contiguous(), 1.0)
