"""Plans of merges by RegMean, held against what the merges allocate."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.genome.genome import Genome
from evolution.merging.regmean import Member, merge_by_regmean
from evolution.merging.settings import RegMeanSettings
from evolution.planning.merging import added_anchors, plan_merge
from tests.conftest import make_family
from tests.evolution.conftest import models_of

WIDE = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


class Allocated(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are alive.

    Attributes:
        peak: the most that there were at a time.
    """

    def __init__(self, before: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._before = {tensor.untyped_storage()._cdata for tensor in before}
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._bytes = 0
        self.peak = 0

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                self._see(tensor.untyped_storage())
        return found

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._before and key not in self._alive:
            size = storage.nbytes()
            self._alive[key] = weakref.ref(storage, partial(self._gone, key, size))
            self._bytes += size
            self.peak = max(self.peak, self._bytes)

    def _gone(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self._bytes -= size


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    def config(**given: Any) -> LlamaConfig:
        return LlamaConfig(**{**given, **WIDE})

    family = make_family(tmp_path_factory.mktemp("wide"), config, tied=True)
    return load_bank(models_of(family), SpectralSettings(rank=4), tmp_path_factory.mktemp("cache"))


def low_rank(bank: Bank, seed: int) -> Genome:
    numbers = np.random.default_rng(seed)
    displacements = {
        name: numbers.normal(0.0, 0.2, basis.values.shape).astype(np.float32)
        for name, basis in bank.bases.items()
    }
    return Genome(bank.base_genome().coefficients, displacements)


@pytest.mark.parametrize(("texts", "length"), [(2, 16), (16, 128)])
@pytest.mark.parametrize("dense", [False, True])
def test_a_merge_allocates_what_is_planned(
    bank: Bank, texts: int, length: int, dense: bool
) -> None:
    numbers = np.random.default_rng(0)
    experts = (
        [bank.seed_genome(name) for name in ("alpha", "beta", "gamma")]
        if dense
        else [low_rank(bank, seed) for seed in range(3)]
    )
    members = [
        Member(expert, numbers.integers(0, 300, (texts, length)).tolist()) for expert in experts
    ]
    vectors = [vector for anchor in bank.anchors for vector in anchor.held]
    held = [part for owner in [*vectors, *bank.bases.values()] for part in vars(owner).values()]
    before = [each for each in [*bank.base.values(), *held] if isinstance(each, Tensor)]
    with Allocated(before) as allocated:
        merge = merge_by_regmean("merge", bank, members, RegMeanSettings())
    merged = [v for anchor in merge for v in anchor.vectors.values()]
    added = sum(getattr(v, "values" if dense else "down").nbytes for v in merged)
    plan = plan_merge(bank.layout, 3, texts * length, dense)
    peak = allocated.peak - added
    assert 0.85 < plan.memory / peak < 1.25


def test_the_largest_anchors_are_counted_up_to_the_limit() -> None:
    merges = [(10, 10, 5), (10, 10, 5)]
    assert added_anchors(merges, most=24) == 50
    assert added_anchors(merges, most=4) == 40
    assert added_anchors(merges, most=0) == added_anchors([], most=24) == 0


def test_wider_models_and_more_members_need_more(bank: Bank) -> None:
    few, many = (plan_merge(bank.layout, members, 100) for members in (2, 4))
    assert few.memory < many.memory
    assert few.reading * 2 == many.reading
    assert few.solving < many.solving < 2 * few.solving
    full = plan_merge(bank.layout, 2, 100, dense=True)
    assert few.memory < full.memory
    assert few.solving < full.solving
