"""Choosing tokens: greedy, or by each row's own random stream."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory.records import Sampling

Logits = Float[Tensor, "rows vocabulary"]


def choose(
    logits: Logits, sampling: Sampling, streams: list[torch.Generator | None]
) -> Int[Tensor, " rows"]:
    """One token per row.

    A row draws one uniform number from its own stream per token and looks it up in its cumulative
    distribution, so neither the other rows nor the device change what it draws.

    Args:
        logits: scores, one row per reply.
        sampling: temperature 0 is greedy.
        streams: one per row; None for rows that are not read.
    """
    if sampling.temperature == 0.0:
        return logits.argmax(-1)
    uniform = torch.tensor(
        [
            0.0 if s is None else float(torch.rand((), generator=s, dtype=torch.float64))
            for s in streams
        ],
        dtype=torch.float64,
        device=logits.device,
    )
    # A genome far off may overflow; its scores become arbitrary but stay a distribution.
    scores = (logits.float() / sampling.temperature).nan_to_num()
    probabilities, order = scores.softmax(-1), None
    if sampling.top_p < 1.0:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = probabilities.double().cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    cumulative = probabilities.double().cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True).clamp_(max=logits.shape[1] - 1)
    if order is not None:
        chosen = order.gather(1, chosen)
    return chosen[:, 0]


def log_probabilities(logits: Logits, tokens: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Log-probability of the chosen tokens at temperature 1."""
    return logits.float().nan_to_num().log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def self_certainty(logits: Logits) -> Float[Tensor, " rows"]:
    """How far each next-token distribution lies from the uniform one: KL(U || p), in nats.

    Its mean over the tokens of a reply is the self-certainty of Kang, Zhao and Song, "Scalable
    best-of-N selection for large language models via self-certainty" (2025). From the scores s of
    a vocabulary of V: logsumexp(s) - mean(s) - log V, so no distribution is written out.
    """
    scores = logits.float().nan_to_num()
    return scores.logsumexp(-1) - scores.mean(-1) - math.log(logits.shape[-1])
