"""A forward pass with explicit masks and positions, which copies neither cache nor vocabulary."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface, Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from evolution.engines.transformers.slots import Keys, RecordingLayer, SlotLayer
from evolution.errors import EngineError
from memory.messages import first_line

GROUPED_ATTENTION = "acdc_grouped_sdpa"
UNFIT = (AttributeError, IndexError, TypeError, ValueError)
"""What models raise that look for more in a cache than it has."""


@dataclass(eq=False, slots=True)
class Segments:
    """Texts that lie one behind the other in one row. What is behind the last is filler.

    Attributes:
        opening: cached positions before the row, which all of them attend to.
        lengths: of the texts.
        uses: layers that have attended by segments.
    """

    opening: int
    lengths: tuple[int, ...]
    uses: int = 0


_SEGMENTS: ContextVar[Segments | None] = ContextVar("segments", default=None)


def score(
    model: Any,
    tokens: Int[Tensor, "rows length"],
    visible: Bool[Tensor, "rows 1 length seen"] | None,
    positions: Int[Tensor, "rows length"],
    layers: Sequence[RecordingLayer | SlotLayer],
    segments: Segments | None = None,
    places: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, "n vocabulary"]:
    """Scores of the next token; the layers take up keys and values.

    Args:
        model: a transformers causal language model.
        tokens: what is read.
        visible: which cached and new positions each token may attend to; None where segments say.
        positions: place of each token in its conversation.
        layers: one cache per layer of the model.
        segments: what a single row consists of, for models that attend by segments.
        places: positions of that row behind which scores are wanted; the last of each row by
            default.
    """
    if visible is None:
        # Nobody looks at it: every layer attends by segments.
        mask = torch.zeros(1, 1, 1, 1, dtype=model.dtype, device=tokens.device)
        mask = mask.expand(1, 1, tokens.shape[1], tokens.shape[1])
    else:
        mask = _additive(visible, model.dtype)
    held = _SEGMENTS.set(segments)
    try:
        logits: Tensor = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            **{_cache_argument(type(model)): Cache(layers=list(layers))},  # type: ignore[arg-type]
            use_cache=True,
            logits_to_keep=1 if places is None else places,
        ).logits
    finally:
        _SEGMENTS.reset(held)
    return logits[:, -1] if places is None else logits[0]


@functools.cache
def _cache_argument(architecture: type) -> str:
    """What the cache is called in the forward pass: transformers has begun to rename it."""
    known = inspect.signature(architecture.forward).parameters  # type: ignore[attr-defined]
    return "cache" if "cache" in known else "past_key_values"


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Mask to be added to attention scores: 0 where visible, else minus infinity."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, float("-inf"))


def grouped_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "rows heads length head_dim"],
    key: Keys,
    value: Keys,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention of segments, or of one position for each row.

    For a single position, the query heads that share a key head are treated as positions; the
    library's own way repeats the whole cache in memory, at every layer of every step.
    """
    segments = _SEGMENTS.get()
    special = any(kwargs.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    if segments is not None and not special:
        segments.uses += 1
        return _segment_by_segment(query, key, value, segments, kwargs.get("scaling")), None
    rows, heads, length, width = query.shape
    shared = key.shape[1]
    if length != 1 or heads == shared or special:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **kwargs
        )
        return output
    folded = query.view(rows, shared, heads // shared, width)
    scaling = kwargs.get("scaling")
    if query.device.type == "cpu" and query.dtype == torch.float32 and attention_mask is not None:
        attended = _batched(folded, key, value, attention_mask, scaling or width**-0.5)
    else:
        attended = torch.nn.functional.scaled_dot_product_attention(
            folded, key, value, attn_mask=attention_mask, scale=scaling
        )
    return attended.reshape(rows, 1, heads, value.shape[3]), None


def _batched(query: Tensor, key: Keys, value: Keys, mask: Tensor, scaling: float) -> Tensor:
    """Attention by batched products.

    PyTorch's own kernel gives each thread a buffer, and what MKL computes in float32 depends on
    how that lies in memory: a row would come out by the thread that it falls to.
    """
    rows, shared, group, _ = query.shape
    added = mask.expand(rows, shared, group, -1).flatten(0, 1)
    scores = torch.baddbmm(
        added, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=scaling
    )
    attended = torch.bmm(scores.softmax(-1), value.flatten(0, 1))
    return attended.view(rows, shared, group, -1)


def _segment_by_segment(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, scaling: float | None
) -> Tensor:
    """Each text by itself, in shapes that depend on nothing else; filler attends to nothing."""
    _, heads, size, _ = query.shape
    attended = query.new_zeros(1, size, heads, value.shape[3])
    before, start = segments.opening, 0
    for length in segments.lengths:
        own, cached = slice(start, start + length), slice(before + start, before + start + length)
        seen_keys, seen_values = key[:, :, cached], value[:, :, cached]
        if before:
            seen_keys = torch.cat([key[:, :, :before], seen_keys], 2)
            seen_values = torch.cat([value[:, :, :before], seen_values], 2)
        mask = _causal(before, length, query.dtype, query.device)
        by_head = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, own],
            seen_keys,
            seen_values,
            attn_mask=mask,
            scale=scaling,
            enable_gqa=heads != key.shape[1],
        )
        attended[:, own] = by_head.transpose(1, 2)
        start += length
    return attended


@functools.lru_cache(maxsize=256)
def _causal(before: int, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Mask of a text behind an opening, which its layers share."""
    visible = torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)
    return _additive(visible[None, None], dtype)


@torch.inference_mode()
def attends_by_segments(model: Any) -> bool:
    """Whether every layer of a model attends by segments, and so reads texts side by side.

    Models with an attention of their own do not, whatever their configuration says.
    """
    count = model.config.num_hidden_layers
    segments = Segments(0, (1, 1))
    tokens = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    visible = torch.eye(2, dtype=torch.bool, device=model.device)[None, None]
    layers = [RecordingLayer(None) for _ in range(count)]
    score(model, tokens, visible, torch.zeros_like(tokens), layers, segments)
    return bool(segments.uses == count)


def unfit(model: Any, error: Exception) -> EngineError:
    """What to raise where a model cannot be served: of one of the errors in `UNFIT`."""
    return EngineError(
        f"the transformers engine cannot serve {type(model).__name__}, whose layers keep something "
        f"else than keys and values by position ({first_line(error)}): choose a base of another "
        "architecture"
    )


def use_grouped_attention(model: Any) -> None:
    """Let a model that attends by SDPA do it without copies; others are left as they are."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(GROUPED_ATTENTION, grouped_attention)
        model.set_attn_implementation(GROUPED_ATTENTION)


def use_plain_head(model: Any) -> None:
    """Let the vocabulary's matrix be multiplied once, and not copied for each row before.

    The library hands it a slice, the last position of each row; for such strides torch takes a
    batched product and repeats the matrix for every row, which costs more than all layers together.
    (It does not where gradients may be wanted; a bank's models want none.)
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_with_plain_strides)


def _with_plain_strides(module: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].clone(memory_format=torch.contiguous_format),)
