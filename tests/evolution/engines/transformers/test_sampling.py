"""Choosing tokens from scores."""

from __future__ import annotations

import math

import pytest
import torch

from evolution.engines.transformers.sampling import choose, log_probabilities, self_certainty
from memory.records import Sampling

SCORES = torch.tensor([0.1, 0.6, 0.3]).log()


def draws(sampling: Sampling, count: int = 3000) -> list[float]:
    """Share of each token in many draws of one stream."""
    stream = torch.Generator().manual_seed(0)
    tokens = [int(choose(SCORES[None], sampling, [stream])) for _ in range(count)]
    return [tokens.count(token) / count for token in range(3)]


def test_greedy_takes_the_best_and_of_equals_the_first() -> None:
    scores = torch.tensor([[0.0, 2.0, 2.0], [3.0, 1.0, 0.0]], dtype=torch.bfloat16)
    assert choose(scores, Sampling(), [None, None]).tolist() == [1, 0]


def test_tokens_come_with_their_probabilities() -> None:
    assert draws(Sampling(temperature=1.0)) == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_temperature_sharpens_and_flattens() -> None:
    assert draws(Sampling(temperature=0.5))[1] == pytest.approx(0.36 / 0.46, abs=0.03)
    assert draws(Sampling(temperature=100.0)) == pytest.approx([1 / 3] * 3, abs=0.04)


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    assert draws(Sampling(temperature=1.0, top_p=0.5)) == [0.0, 1.0, 0.0]
    two = draws(Sampling(temperature=1.0, top_p=0.8))
    assert two == pytest.approx([0.0, 2 / 3, 1 / 3], abs=0.03)


def test_rows_draw_from_their_own_streams() -> None:
    sampling = Sampling(temperature=1.0, top_p=0.95)
    scores = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))

    def stream(row: int) -> torch.Generator:
        return torch.Generator().manual_seed(row)

    together = choose(scores, sampling, [stream(row) for row in range(4)]).tolist()
    for row in range(4):
        others: list[torch.Generator | None] = [None] * 4
        others[row] = stream(row)
        assert choose(scores, sampling, others)[row] == together[row]


def test_scores_that_are_not_finite_still_give_tokens() -> None:
    wild = torch.tensor([[float("nan")] * 3, [float("inf"), 0.0, float("-inf")]])
    streams: list[torch.Generator | None] = [torch.Generator().manual_seed(s) for s in (1, 2)]
    for top_p in (1.0, 0.9):
        tokens = choose(wild, Sampling(temperature=0.7, top_p=top_p), streams)
        assert tokens[1] == 0
        assert log_probabilities(wild, tokens).isfinite().all()


def test_certainty_is_the_divergence_of_the_uniform_distribution() -> None:
    divergence = sum(math.log((1 / 3) / p) / 3 for p in (0.1, 0.6, 0.3))
    flat = torch.zeros(3)
    found = self_certainty(torch.stack([SCORES, flat, SCORES + 5.0]))
    assert found.tolist() == pytest.approx([divergence, 0.0, divergence], abs=1e-5)
