"""A forward pass with explicit masks and positions, which copies neither cache nor vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface, Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from evolution.engines.slots import Keys, RecordingLayer, SlotLayer

GROUPED_ATTENTION = "acdc_grouped_sdpa"


def score(
    model: Any,
    tokens: Int[Tensor, "rows length"],
    visible: Bool[Tensor, "rows 1 length seen"],
    positions: Int[Tensor, "rows length"],
    layers: Sequence[RecordingLayer | SlotLayer],
) -> Float[Tensor, "rows vocabulary"]:
    """Scores of the next token after the last position; the layers take up keys and values.

    Args:
        model: a transformers causal language model.
        tokens: what is read.
        visible: which cached and new positions each token may attend to.
        positions: place of each token in its conversation.
        layers: one cache per layer of the model.
    """
    logits: Tensor = model(
        input_ids=tokens,
        attention_mask=_additive(visible, model.dtype),
        position_ids=positions,
        past_key_values=Cache(layers=list(layers)),  # type: ignore[arg-type]
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1]


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
    """Scaled dot-product attention that does not copy keys for each query head of a group.

    For a single position, the query heads that share a key head are treated as positions; the
    library's own way repeats the whole cache in memory, at every layer of every step.
    """
    rows, heads, length, width = query.shape
    shared = key.shape[1]
    special = kwargs.get("position_bias") is not None or kwargs.get("cache") is not None
    if length != 1 or heads == shared or special:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **kwargs
        )
        return output
    folded = query.view(rows, shared, heads // shared, width)
    attended = torch.nn.functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=kwargs.get("scaling")
    )
    return attended.reshape(rows, 1, heads, value.shape[3]), None


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
