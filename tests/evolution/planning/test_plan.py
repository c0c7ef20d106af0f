from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evolution.bank.settings import MergeSettings, SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import BankError
from evolution.planning.plan import Machine, MemoryPlan, plan_memory
from evolution.planning.sizes import Sizes, measure_sizes
from tests.evolution.conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

GIB = 2**30
SEVEN_BILLION = Sizes(
    weights=15 * GIB, bank=60 * GIB, key_values=57_344, vocabulary=152_064, width=71_000, item=2
)


def planned(memory: float, gpu: float | None, engine: EngineSettings | None = None) -> MemoryPlan:
    machine = Machine(int(memory * GIB), None if gpu is None else int(gpu * GIB))
    return plan_memory(
        SEVEN_BILLION, engine or EngineSettings(), machine, tokens=2048, sandbox=2 * GIB
    )


def test_what_is_computed_in_float32_takes_twice_the_memory() -> None:
    half = planned(256, None, EngineSettings(compute="bfloat16"))
    full = planned(256, None, EngineSettings(compute="float32"))
    for narrow, wide in zip(half.needs, full.needs, strict=True):
        if narrow.what == "weights of an expert" or narrow.what.startswith("keys and values"):
            assert wide.bytes == 2 * narrow.bytes
        if narrow.what == "bank":
            assert wide.bytes == narrow.bytes


def test_the_bank_lies_on_the_gpu_where_it_fits_and_else_is_streamed() -> None:
    large, small = planned(128, 141), planned(128, 80)
    assert (large.bank, large.verdict) == ("device", "fits")
    assert large.needed("memory") == 2 * GIB
    assert (small.bank, small.verdict) == ("pinned", "fits")
    assert small.needed("memory") == 62 * GIB
    assert "streamed" in small.advice
    assert planned(128, None).bank == "host"


def test_what_does_not_fit_is_said_with_what_to_change() -> None:
    plan = planned(32, None)
    assert plan.verdict == "too large"
    assert "32.0 GiB free" in plan.advice
    assert "fewer full seeds" in plan.advice
    rows = planned(256, 141, EngineSettings(rows=4096))
    assert rows.verdict == "too large"
    assert "lower engine.rows" in rows.advice


def test_little_to_spare_is_tight() -> None:
    needed = planned(1000, None).needed("memory") / GIB
    assert planned(needed * 1.02, None).verdict == "tight"
    assert planned(needed * 1.2, None).verdict == "fits"


def test_fewer_rows_need_less() -> None:
    few = planned(1000, None, EngineSettings(rows=8)).needed("memory")
    assert few < planned(1000, None, EngineSettings(rows=64)).needed("memory")


def test_an_adapter_weighs_its_factors(
    tiny_family: TinyFamily, adapter: Path, tmp_path: Path
) -> None:
    rank = SpectralSettings(rank=0)
    without = measure_sizes(models_of(tiny_family), rank, tmp_path)
    with_it = measure_sizes(models_of(tiny_family, adapter), rank, tmp_path)
    factors = 2 * 4 * sum(4 * (rows + columns) for rows, columns in [(64, 64), (32, 64), (64, 128)])
    assert with_it.bank - without.bank == factors
    (adapter_copy := tmp_path / "delta").mkdir()
    (adapter_copy / "adapter_config.json").write_text("{}")
    with pytest.raises(BankError, match="missing or damaged"):
        measure_sizes(models_of(tiny_family, adapter_copy), rank, tmp_path)


def test_vllm_has_a_bank_of_its_own_and_a_cache_of_a_fixed_size() -> None:
    plan = planned(1000, None, EngineSettings(kind="vllm", kv_cache_gib=3.0))
    sizes = {need.what: need.bytes for need in plan.needs}
    assert sizes["bank"] == sizes["bank of vLLM's worker"] == SEVEN_BILLION.bank
    assert sizes["keys and values (engine.kv_cache_gib)"] == 3 * GIB
    default = planned(1000, None, EngineSettings(kind="vllm", rows=8))
    assert default.needed("memory") < plan.needed("memory") - 2 * GIB
    cramped = planned(400, None, EngineSettings(kind="vllm", kv_cache_gib=300.0))
    assert cramped.verdict == "too large"
    assert "lower engine.kv_cache_gib" in cramped.advice


def test_beside_a_gpu_only_the_bank_of_vllms_worker_may_lie_on_it() -> None:
    vllm = EngineSettings(kind="vllm")
    large, small = planned(200, 141, vllm), planned(200, 80, vllm)
    assert (large.bank, large.verdict) == ("device", "fits")
    assert large.needed("memory") == 62 * GIB
    assert (small.bank, small.verdict) == ("host", "fits")
    assert small.needed("memory") == 122 * GIB
    assert "moved to the GPU" in small.advice
    assert planned(100, 80, vllm).verdict == "too large"


def test_a_configured_merge_weighs_as_much_as_a_full_seed(
    tiny_family: TinyFamily, tmp_path: Path
) -> None:
    models, rank = models_of(tiny_family), SpectralSettings(rank=0)
    merge = MergeSettings(name="soup", method="linear", parameters={"weight": 1.0})
    merged = models.model_copy(update={"merges": (merge,)})
    fewer = models.model_copy(update={"seeds": models.seeds[:-1]})
    sizes = [measure_sizes(each, rank, tmp_path).bank for each in (fewer, models, merged)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0
