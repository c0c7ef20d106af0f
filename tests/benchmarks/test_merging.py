"""Merges compared: the formulas that are tried beside RegMean, and the benchmark on tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmarks.merging_bench
from benchmarks.merging import arguments, measure, routed_rows, table
from benchmarks.merging_bench import Text
from benchmarks.merging_variants import (
    adapted,
    core_ties,
    entropy,
    iso_c,
    knots_ties,
    norms,
    surprise,
    thirds,
    ties,
    tsv_m,
)
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.bank.task_vectors import LowRank
from evolution.materialise.weights import weigh
from tests.conftest import TinyFamily
from tests.evolution.conftest import write_adapter

NAMES = ("first", "second", "third")
PROMPTS = [[1, 20, 30, 40, 50, 60], [1, 70, 80, 90], [1, 25, 35, 45, 55]]
TEXTS = [Text(tokens, 2) for tokens in PROMPTS]


@pytest.fixture(scope="module")
def adapters(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Three adapters on the tiny base; tests that add anchors leave the seeds as they are."""
    place = tmp_path_factory.mktemp("merging")
    seeds = tuple(
        SeedSettings(name=name, path=str(write_adapter(place / name, seed)))
        for seed, name in enumerate(NAMES)
    )
    models = ModelSettings(base=str(tiny_family.base), seeds=seeds)
    return load_bank(models, SpectralSettings(rank=4), place / "cache")


def dense(vector: LowRank) -> Tensor:
    return vector.scale * vector.up.double() @ vector.down.double()


def factors(seed: int, rows: range, columns: range) -> LowRank:
    """Of rank 2, within some rows and columns of a 12 x 16 matrix."""
    generator = torch.Generator().manual_seed(seed)
    up, down = torch.zeros(12, 2), torch.zeros(2, 16)
    up[rows.start : rows.stop] = torch.randn(len(rows), 2, generator=generator)
    down[:, columns.start : columns.stop] = torch.randn(2, len(columns), generator=generator)
    return LowRank(up, down, 2.0)


APART = [factors(n, range(4 * n, 4 * n + 4), range(5 * n, 5 * n + 5)) for n in range(3)]
ALIKE = [factors(n, range(12), range(16)) for n in range(3)]


def close(found: LowRank, expected: Tensor) -> bool:
    return torch.allclose(dense(found), expected, atol=1e-4)


def test_tsv_m_is_the_sum_only_of_what_does_not_overlap() -> None:
    assert close(tsv_m(APART), sum(map(dense, APART), torch.zeros(12, 16)))
    assert not close(tsv_m(ALIKE), sum(map(dense, ALIKE), torch.zeros(12, 16)))
    assert close(tsv_m(ALIKE[:1]), dense(ALIKE[0]))


def test_iso_c_levels_the_singular_values_of_the_sum() -> None:
    total = sum(map(dense, ALIKE), torch.zeros(12, 16))
    expected = torch.linalg.svdvals(total)[:6]
    found = torch.linalg.svdvals(dense(iso_c(ALIKE)))
    assert torch.allclose(found[:6], expected.mean().expand(6), atol=1e-4)
    assert torch.allclose(found[6:], torch.zeros(6, dtype=torch.double), atol=1e-4)


@pytest.mark.parametrize("method", [knots_ties, core_ties])
def test_one_member_that_is_not_trimmed_is_itself(method: object) -> None:
    assert callable(method)
    assert close(method(ALIKE[:1], density=1.0), dense(ALIKE[0]))
    twice = method([ALIKE[0], ALIKE[0]], density=1.0)
    assert close(twice, dense(ALIKE[0])), "what agrees is averaged"


def test_ties_trims_elects_and_averages_what_agrees() -> None:
    values = torch.tensor([[[4.0, -3.0, 1.0, 0.1]], [[2.0, 5.0, 0.2, 0.3]]])
    found = ties(values.double(), density=0.5)
    assert found.tolist() == [[3.0, 5.0, 0.0, 0.0]]


def test_thirds_of_the_depth() -> None:
    assert thirds(6, 1.0, 2.0, 3.0).tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("loss", [entropy, surprise])
def test_learned_coefficients_lower_the_loss(adapters: Bank, loss: object) -> None:
    assert callable(loss)
    values: list[float] = []

    def watched(logits: Tensor, tokens: Tensor) -> Tensor:
        value: Tensor = loss(logits, tokens)
        values.append(value.item())
        return value

    genome = adapted(adapters, adapters.anchors[:3], TEXTS, watched, 0.3, steps=12, batch=3)
    assert values[-1] < values[0]
    rows = genome.coefficients
    layers = [block.startswith("layers.") for block in adapters.blocks]
    assert not rows[~np.array(layers)].any()
    assert len(np.unique(rows[layers])) == rows[layers].size, "each layer and anchor has its own"


def test_what_is_trained_is_what_is_materialised(adapters: Bank) -> None:
    """Without steps the coefficients are the start: hooks and weights must give equal logits."""
    seen: list[Tensor] = []

    def kept(logits: Tensor, tokens: Tensor) -> Tensor:
        seen.append(logits.detach())
        return logits.sum()

    start = adapted(adapters, adapters.anchors[:3], TEXTS[:1], kept, 0.5, steps=1, rate=0.0)
    model = adapters.model(torch.float32)
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in weigh(adapters, start):
            state[name].copy_(tensor)
    expected = model(torch.tensor([PROMPTS[0]])).logits[0, 3:]
    assert torch.allclose(seen[0][:3], expected, atol=1e-3)


def test_norms_are_those_of_what_each_seed_adds_to_the_last_token(adapters: Bank) -> None:
    seeds = adapters.anchors[:3]
    found = norms(adapters, seeds, PROMPTS)
    name = "model.layers.0.self_attn.q_proj.weight"
    model = adapters.model(torch.float32)
    given: list[Tensor] = []
    module = model.get_submodule(name.removesuffix(".weight"))
    module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model(torch.tensor([PROMPTS[1]]))
    vector = seeds[2].vectors[name]
    assert isinstance(vector, LowRank)
    expected = (dense(vector) @ given[0][0, -1].double()).norm()
    assert found[name].shape == (3, 3)
    assert found[name][1, 2] == pytest.approx(float(expected), rel=1e-4)


def test_a_route_answers_as_the_seed_that_it_picks() -> None:
    alone: dict[str, Sequence[bool]] = {"a": [True, False, False], "b": [False, True, False]}
    routed, either = routed_rows(alone, {"route": [0, 0, 1]})
    assert (routed.name, list(routed.passed)) == ("route", [True, False, False])
    assert list(either.passed) == [True, True, False]


@pytest.mark.slow
def test_the_benchmark_on_tiny_models(
    adapters: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random models answer nothing right: everything passes here, that there are texts.
    monkeypatch.setattr(benchmarks.merging_bench, "PASS_SCORE", -1.0)
    monkeypatch.setattr(benchmarks.merging_bench, "MAX_TOKENS", 3)
    words = ["--each", "1", "--calibrate", "1", "--texts", "4", "--steps", "1", "--repeats", "1"]
    options = arguments().parse_args([*words, "--answers", str(tmp_path / "answers")])
    options.only = [
        *NAMES,
        "mean",
        "TSV-M x 1",
        "RegMean x 1.2",
        "RegMean++ x 1.2",
        "RegMean, attention 1.4, MLP 1.1",
        "RegMean, entropy",
    ]
    report = asyncio.run(measure(adapters, options))
    names = [row["name"] for row in report["rows"]]
    assert set(options.only) < set(names)
    assert names[-2:] == ["any of the seeds", "any of the seeds, or RegMean x 1.2"]
    assert all(row["mean"] == 1.0 and len(row["passed"]) == 15 for row in report["rows"])
    assert {goal["unit"] for goal in report["goals"]} == {"s", "x", "MB"}
    assert report["texts"] == dict.fromkeys(NAMES, 4)
    assert "anchors of a merge on disk" in table(report)
