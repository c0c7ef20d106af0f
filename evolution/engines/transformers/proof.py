"""Which sizes of passes give the same bits on this machine: shown once, then remembered.

Equal rows go through passes of every size. What differs between them comes from the size or from
their place, since weights and tokens change no order of computing. Half-precision results hide most
differences of order; so matrix products are tried first with terms that cancel out, of which
nothing but rounding is left.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evolution.bank.cache import keep_json
from evolution.engines.transformers.attention import score
from evolution.engines.transformers.packing import PackedLinear
from evolution.engines.transformers.passes import PassSizes
from evolution.engines.transformers.reading import read_texts
from evolution.engines.transformers.sampling import log_probabilities, self_certainty
from evolution.engines.transformers.slots import Slots

_log = logging.getLogger(__name__)

_SHORTEST_TEXT, _LAYERS = 16, 4


@torch.inference_mode()
def prove(model: Any, tried: PassSizes, side_by_side: bool) -> PassSizes:
    """The sizes of which all rows come out alike, and as those of the largest such size.

    Args:
        model: a transformers causal language model.
        tried: of `candidates`.
        side_by_side: whether it attends by segments; if not, prompts are read one by one and in
            no other size than their own.
    """
    head = model.get_output_embeddings()
    layers = [*_linear_layers(model).values()]
    rows, tokens = tried.rows, tried.tokens
    for layer in [*layers, *([] if head is None else [head])]:
        rows = _alike(rows, _product(layer, model))
    with _first_layers(model):
        cached = _equal_slots(model, rows[-1], tried.slots[-1], side_by_side)
        rows = _alike(rows, lambda size: _steps(model, cached, size, tried.slots))
        slots = _alike_slots(model, cached, rows[-1], tried.slots)
        if side_by_side:
            for layer in layers:
                tokens = _alike(tokens, _product(layer, model))
            tokens = _alike(tokens, partial(_read, model, rows[-1]))
    return PassSizes(rows, tokens, slots)


@contextmanager
def _first_layers(model: Any) -> Iterator[None]:
    """Compute the first layers only, where a model goes by its configuration: all are of a kind."""
    usual = model.config.num_hidden_layers
    model.config.num_hidden_layers = min(usual, _LAYERS)
    try:
        read_texts(model, [[0, 1]], (), 2, 1, side_by_side=False)
    except IndexError:  # it goes through all of them, and there is no cache for the others
        model.config.num_hidden_layers = usual
    try:
        yield
    finally:
        model.config.num_hidden_layers = usual


def remembered(file: Path, tried: PassSizes, find: Callable[[], PassSizes]) -> PassSizes:
    """What was found before, or is found now.

    Args:
        file: named by all that the outcome depends on.
        tried: what can have been found.
        find: takes seconds.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        sizes = PassSizes(**{name: tuple(found) for name, found in stored.items()})
        if all(
            found and {*found} <= {*getattr(tried, name)} for name, found in asdict(sizes).items()
        ):
            return sizes
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # missing or damaged
    sizes = find()
    keep_json(file, asdict(sizes))
    return sizes


def _alike(sizes: Sequence[int], results_of: Callable[[int], Sequence[Tensor]]) -> tuple[int, ...]:
    """Sizes all of whose rows are alike, and as those of the largest such size.

    Args:
        sizes: ascending.
        results_of: size -> tensors whose first dimension counts rows.
    """
    expected: list[Tensor] = []
    found = []
    for size in reversed(sizes):
        results = results_of(size)
        ones = expected or [result[:1].clone() for result in results]
        pairs = zip(results, ones, strict=True)
        if all(torch.equal(result, one.expand_as(result)) for result, one in pairs):
            found.append(size)
            expected = ones
    if not found:
        _log.warning("no batch size gives equal bits: replies may vary slightly with their batch")
        found = [sizes[-1]]
    return tuple(reversed(found))


def _linear_layers(model: Any) -> dict[tuple[int, int], Any]:
    """One layer of each shape, the vocabulary's left aside."""
    return {
        (module.out_features, module.in_features): module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | PackedLinear)
        and module is not model.get_output_embeddings()
    }


def _product(layer: Any, model: Any) -> Callable[[int], Sequence[Tensor]]:
    """Size -> products of equal rows with a matrix; each is a sum whose terms cancel out."""
    outputs, inputs = layer.out_features, layer.in_features
    half = inputs // 2
    drawn = torch.randn(outputs + 1, half, generator=torch.Generator().manual_seed(0))
    drawn = drawn.to(dtype=model.dtype, device=model.device)
    order = torch.randperm(half, generator=torch.Generator().manual_seed(1)).to(model.device)
    rest = drawn.new_zeros(outputs, inputs - 2 * half)
    weight = torch.cat([drawn[1:], -drawn[1:, order], rest], 1)
    row = torch.cat([drawn[:1], drawn[:1, order], rest[:1]], 1)
    multiply: Callable[[Tensor], Tensor] = partial(torch.nn.functional.linear, weight=weight)
    if isinstance(layer, PackedLinear):
        packed = PackedLinear(torch.nn.Linear(inputs, outputs, bias=False, device="meta"))
        packed.pack(weight)
        multiply = packed
    return lambda size: [multiply(row.expand(size, -1).contiguous())]


def _text(model: Any, length: int) -> list[int]:
    return [place * 7919 % model.config.vocab_size for place in range(length)]


def _equal_slots(model: Any, rows: int, length: int, side_by_side: bool) -> Slots:
    """The same text in the cache of every row; it leaves room for one token."""
    cached = length - 1
    _, spans = read_texts(model, [_text(model, cached)], (), cached, 1, side_by_side)
    spans = [(keys[:, :, :cached], values[:, :, :cached]) for keys, values in spans]
    slots = Slots(spans, rows, length)
    for row in range(rows):
        slots.install(row, [spans])
    return slots


def _step(model: Any, slots: Slots, rows: int, position: int, seen: int) -> list[Tensor]:
    """What one step of so many rows gives at a position, attending to the first slots."""
    positions = torch.full((rows,), position, device=model.device)
    visible = torch.arange(seen, device=model.device) <= position
    tokens = torch.full((rows, 1), position % model.config.vocab_size, device=model.device)
    caches = slots.layers(positions, seen)
    logits = score(model, tokens, visible.expand(rows, 1, 1, -1), positions[:, None], caches)
    chosen = logits.argmax(-1)
    return [logits, log_probabilities(logits, chosen), self_certainty(logits)]


def _steps(model: Any, slots: Slots, rows: int, sizes: Sequence[int]) -> list[Tensor]:
    """Steps at several positions.

    Each overwrites its own slot; the first ones come first, so that every size finds the same.
    """
    places = [size - 1 for size in sizes]
    return [part for at in places for part in _step(model, slots, rows, at, slots.length)]


def _alike_slots(model: Any, slots: Slots, rows: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Numbers of slots that give what all of them give, at positions all over them."""

    def alike(at: int, size: int) -> bool:
        few, full = (_step(model, slots, rows, at, seen) for seen in (size, slots.length))
        return all(torch.equal(one, other) for one, other in zip(few, full, strict=True))

    found = [slots.length]
    for size in reversed(sizes[:-1]):
        if all(alike(at, size) for at in range(size - 1, 0, -max(size // 4, 1))):
            found.append(size)
    return tuple(reversed(found))


def _read(model: Any, rows: int, size: int) -> list[Tensor]:
    """Scores behind texts in a pass of that size, and what the last layer keeps of them."""
    length = max(_SHORTEST_TEXT, -(-size // rows))
    count = size // length
    texts = [_text(model, length)] * count
    logits, spans = read_texts(model, texts, (), size, rows, side_by_side=True)
    kept = (part[0, :, : count * length] for part in spans[-1])
    by_text = (part.reshape(len(part), count, length, -1).transpose(0, 1) for part in kept)
    return [logits[:count], *by_text]
