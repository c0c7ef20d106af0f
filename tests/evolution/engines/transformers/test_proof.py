"""Sizes of passes that give the same bits, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.engines.transformers.attention import (
    attends_by_segments,
    use_grouped_attention,
    use_plain_head,
)
from evolution.engines.transformers.packing import ModelWeights
from evolution.engines.transformers.passes import PassSizes, candidates
from evolution.engines.transformers.proof import prove, remembered
from tests.evolution.conftest import models_of


@pytest.fixture(scope="module")
def bank(tiny_family: Any, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    cache = tmp_path_factory.mktemp("cache")
    return load_bank(models_of(tiny_family), SpectralSettings(rank=4), cache)


def opened(bank: Bank, dtype: torch.dtype) -> Any:
    model = bank.model(dtype)
    ModelWeights(model).write(bank, bank.base_genome())
    use_grouped_attention(model)
    use_plain_head(model)
    return model


@given(st.integers(1, 500), st.integers(1, 5000))
def test_candidates_hold_what_is_asked_for(rows: int, tokens: int) -> None:
    sizes = candidates(rows, tokens)
    assert sizes.rows[-1] >= rows
    assert sizes.tokens[-1] >= tokens
    assert list(sizes.rows) == sorted(set(sizes.rows))
    assert list(sizes.tokens) == sorted(set(sizes.tokens))
    for count in (1, rows):
        assert count <= sizes.rows_for(count) <= max(1.5 * count, 4)
    assert tokens <= sizes.tokens_for(tokens) <= max(32, 1.25 * tokens)
    for last in (sizes.rows[-1], sizes.tokens[-1]):
        assert last & (last - 1) == 0, "it has no remainder"


def test_what_exceeds_all_sizes_is_its_own() -> None:
    sizes = PassSizes((4, 8), (32, 64), (64, 128))
    assert sizes.tokens_for(65) == 65
    assert sizes.slots_for(100, held=128) == 128
    assert sizes.slots_for(60, held=128) == 64
    assert sizes.slots_for(60, held=512) == 512, "nothing is known of longer caches"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_rows_come_out_equal_in_every_size_that_is_kept(
    bank: Bank, dtype: torch.dtype
) -> None:
    model = opened(bank, dtype)
    assert attends_by_segments(model)
    tried = candidates(8, 96)
    sizes = prove(model, tried, side_by_side=True)
    assert set(sizes.rows) <= set(tried.rows)
    assert set(sizes.tokens) <= set(tried.tokens)
    assert sizes.rows[-1] == tried.rows[-1]
    assert prove(model, tried, side_by_side=True) == sizes, "no trial leaves a trace for the next"
    assert sizes.tokens[-1] == tried.tokens[-1]


def test_a_size_that_computes_otherwise_is_left_out(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose last row differs in the last bit, as a processor's remainder loop may do it."""
    model = opened(bank, torch.float32)
    tried = candidates(8, 96)

    class Other(torch.nn.SiLU):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found = super().forward(inputs).flatten(0, 1)
            if len(found) in (4, 48):
                found[-1] = torch.nextafter(found[-1], found.new_tensor(9.0))
            return found.view_as(inputs)

    kept = prove(model, tried, side_by_side=True)
    with monkeypatch.context() as patch:
        for layer in model.model.layers:
            patch.setattr(layer.mlp, "act_fn", Other())
        sizes = prove(model, tried, side_by_side=True)
    assert sizes.rows == tuple(size for size in kept.rows if size != 4)
    assert sizes.tokens == tuple(size for size in kept.tokens if size != 48)


def test_models_with_an_attention_of_their_own_are_known(bank: Bank) -> None:
    model = bank.model()
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert not attends_by_segments(model)


def test_what_was_proven_is_remembered_and_damage_is_repaired(tmp_path: Path) -> None:
    found = PassSizes((4, 8), (32,), (64, 128))
    file = tmp_path / "passes" / "x.json"
    assert remembered(file, found, lambda: found) == found
    assert remembered(file, found, lambda: pytest.fail("is known")) == found
    other = {"rows": [3], "tokens": [32], "slots": [64]}
    empty: dict[str, list[int]] = {"rows": [], "tokens": [], "slots": []}
    for damage in ("", "{", "[]", "3", {"rows": [4]}, {"rows": "x"}, other, empty):
        file.write_text(damage if isinstance(damage, str) else json.dumps(damage))
        assert remembered(file, found, lambda: found) == found


def test_a_largest_size_that_is_not_alike_in_itself_is_left_out(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no yardstick for the others; steps are then as large as the next one at most."""
    model = opened(bank, torch.float32)

    class Other(torch.nn.SiLU):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found = super().forward(inputs).flatten(0, 1)
            if len(found) == 8:
                found[:1] = torch.nextafter(found[:1], found.new_tensor(9.0))
            return found.view_as(inputs)

    with monkeypatch.context() as patch:
        for layer in model.model.layers:
            patch.setattr(layer.mlp, "act_fn", Other())
        assert max(prove(model, candidates(8, 96), side_by_side=True).rows) < 8
