from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evolution.bank.bank import load_bank
from evolution.bank.settings import MergeSettings, ModelSettings, SpectralSettings
from evolution.breeding.settings import BreedingSettings, GraftSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import BankError
from evolution.merging.settings import RegMeanSettings
from evolution.planning.merging import MergePlan, Merging, Occasions, plan_merging
from evolution.planning.plan import Machine, MemoryPlan, plan_memory
from evolution.planning.sizes import Sizes, measure_columns, measure_layout, measure_sizes
from tests.evolution.conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

GIB = 2**30
SEVEN_BILLION = Sizes(
    weights=15 * GIB, bank=60 * GIB, key_values=57_344, vocabulary=152_064, width=71_000, item=2
)


def planned(
    memory: float,
    gpu: float | None,
    engine: EngineSettings | None = None,
    merging: Merging | None = None,
) -> MemoryPlan:
    machine = Machine(int(memory * GIB), None if gpu is None else int(gpu * GIB))
    return plan_memory(
        SEVEN_BILLION,
        engine or EngineSettings(),
        machine,
        tokens=2048,
        sandbox=2 * GIB,
        merging=merging,
    )


def merges(memory: int, anchors: int) -> Merging:
    return Merging(8, 3, 16, 124, MergePlan(memory * GIB, 0, 0), anchors * GIB)


def test_a_merge_and_its_anchors_come_beside_bank_and_engine() -> None:
    plain, beside = planned(256, None), planned(256, None, merging=merges(12, 24))
    assert beside.needed("memory") == plain.needed("memory") + 36 * GIB
    assert beside.verdict == "fits"
    large = planned(120, None, merging=merges(12, 90))
    assert large.verdict == "too large"
    assert "lower breeding.regmean.anchors" in large.advice
    wide = planned(120, None, merging=merges(90, 1))
    assert "lower breeding.regmean.members or texts" in wide.advice
    assert planned(256, None, merging=merges(0, 24)).needs[-2].what.startswith("anchors")


def test_merges_are_made_on_the_gpu_if_it_has_room_and_move_a_bank_that_grows() -> None:
    near = planned(256, 192, merging=merges(12, 24))
    assert (near.bank, near.verdict) == ("device", "fits")
    assert near.needed("GPU memory") == planned(256, 192).needed("GPU memory") + 36 * GIB
    far = planned(256, 141, merging=merges(90, 24))
    assert far.bank == "device"
    assert far.needed("memory") == planned(256, 141).needed("memory") + 90 * GIB
    grown = planned(256, 141, merging=merges(12, 60))
    assert grown.bank == "pinned"
    assert grown.needed("memory") == (2 + 60 + 60) * GIB


def test_vllm_has_the_anchors_in_both_banks_and_leaves_its_gpu_no_room_for_a_merge() -> None:
    vllm, merging = EngineSettings(kind="vllm"), merges(12, 24)
    assert planned(400, 192, vllm, merging).needed("memory") == (2 + 60 + 24 + 12) * GIB
    plain = planned(400, None, vllm).needed("memory")
    assert planned(400, None, vllm, merging).needed("memory") == plain + (12 + 24 + 24) * GIB


def test_columns_weigh_right_factors_only_and_are_full_for_full_seeds(
    tiny_family: TinyFamily, adapter: Path, tmp_path: Path
) -> None:
    models = models_of(tiny_family, adapter)
    columns, full = measure_columns(models, SpectralSettings(rank=0), tmp_path)
    assert columns == (2 * 4 * 4 * (64 + 64 + 128),)
    assert full == 2 * sum(math.prod(s) for s in measure_layout(models, tmp_path).shapes.values())
    both, _ = measure_columns(models, SpectralSettings(rank=4), tmp_path)
    bank = load_bank(models, SpectralSettings(rank=4), tmp_path)
    assert both == (*columns, sum(basis.right.nbytes for basis in bank.bases.values()))
    occasions = Occasions(BreedingSettings(), generations=4, adapt_every=2, tokens=124)
    found = plan_merging(models, SpectralSettings(rank=0), tmp_path, occasions)
    assert found is not None
    # The founding, two adaptations and four pairs.
    assert (found.merges, found.anchors) == (7, 7 * (full + sum(columns)))
    light = ModelSettings(base=models.base, seeds=models.seeds[-1:])
    of_factors = plan_merging(light, SpectralSettings(rank=0), tmp_path, occasions)
    assert of_factors is not None
    assert of_factors.anchors == 7 * sum(columns)
    assert of_factors.plan is not None
    assert found.plan is not None
    assert of_factors.plan.solving < found.plan.solving


def test_a_run_without_merges_has_nothing_to_plan(tiny_family: TinyFamily, tmp_path: Path) -> None:
    models, rank = models_of(tiny_family), SpectralSettings(rank=0)
    off = RegMeanSettings(founding=False, adapting=False)
    none = BreedingSettings(regmean=off, graft=GraftSettings(every=0))
    assert plan_merging(models, rank, tmp_path, Occasions(none, 4, 2, 124)) is None
    # Those of mergekit make full differences, and are not planned by the layer.
    soup = GraftSettings(every=2, methods={"linear": {"weight": 1.0}})
    other = BreedingSettings(regmean=off, graft=soup)
    found = plan_merging(models, rank, tmp_path, Occasions(other, 4, 2, 124))
    assert found is not None
    _, full = measure_columns(models, rank, tmp_path)
    assert (found.merges, found.plan) == (2, None)
    assert found.anchors == 2 * full


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
