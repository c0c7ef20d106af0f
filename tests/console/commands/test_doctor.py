"""What `acdc doctor` says of memory and seeds before a run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.config import RunConfig
from console.commands import doctor
from evolution.bank.bank import load_bank
from evolution.engines.compute import Compute
from evolution.planning.merging import MergePlan, Merging
from tests.console.conftest import Acdc
from tests.evolution.conftest import models_of, write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


def test_doctor_plans_memory_and_compares_the_seeds(acdc: Acdc, tiny_config: Path) -> None:
    report = acdc.json("doctor", "--config", tiny_config, fresh=True)
    found: dict[str, Any] = {finding["what"]: finding for finding in report["findings"]}
    assert found["engine"]["detail"] == "transformers"
    plan = found["memory"]["figures"]
    assert plan["verdict"] == "fits"
    assert {need["what"].split(" (")[0] for need in plan["needs"]} == {
        "bank",
        "weights of an expert",
        "keys and values",
        "activations",
        "a merge",
        "anchors of merges, at most",
        "sandbox, at most",
    }
    assert all(need["bytes"] > 0 for need in plan["needs"])
    merges = found["merges"]
    # The founding, two adaptations and four pairs; full seeds make columns that are full.
    assert merges["figures"]["merges"] == 7
    assert (merges["figures"]["members"], merges["figures"]["texts"]) == (3, 12)
    assert merges["figures"]["seconds"] < 60
    assert "up to 7, each about 1 s: 3 experts read 12 texts" in merges["detail"]
    [anchors] = [need for need in plan["needs"] if need["what"].startswith("anchors")]
    assert anchors["bytes"] == merges["figures"]["anchors"]
    seeds = found["mergeability"]["figures"]
    assert 0.7 < seeds["ratio"] <= 1.0
    assert all(abs(cosine) < 0.2 for _, _, cosine in seeds["cosines"])
    assert all(0.4 < share < 0.6 for _, _, share in seeds["sign_agreement"])
    assert found["mergeability"]["state"] == "hint"
    sizes = found["forecast"]["figures"]["sizes"]
    assert list(sizes) == ["yours", "135M", "1B", "7B", "32B"]
    assert 0 < sizes["yours"]["hours"] < sizes["135M"]["hours"] < sizes["1B"]["hours"]
    assert 0 < sizes["yours"]["gpu_hours"] < sizes["32B"]["gpu_hours"]
    limit = RunConfig.model_validate(tomllib.loads(tiny_config.read_text())).judge.max_tokens
    assert f"each up to {limit} tokens (judge.max_tokens)" in found["forecast"]["detail"]
    reading = found["reading"]
    assert reading["state"] == "ok"
    assert set(reading["figures"]) == {"base", "alpha", "beta", "gamma"}


async def test_a_checkpoint_that_is_missing_is_told_once(tmp_path: Path) -> None:
    there = {"base": str(tmp_path / "none"), "seeds": [{"name": "a", "path": str(tmp_path / "a")}]}
    config = RunConfig.model_validate({"models": there})
    found = {each.what: each for each in await doctor.examine(config)}
    assert str(tmp_path) in found["memory"].detail
    assert (found["seeds"].state, found["seeds"].detail) == ("failed", "the same, see memory")
    assert "\n       yours unknown: the checkpoints cannot be read" in found["forecast"].detail
    sizes = found["forecast"].figures["sizes"]
    assert isinstance(sizes, dict)
    assert [*sizes] == ["yours", "135M", "1B", "7B", "32B"]
    assert sizes["yours"] is None


def test_a_merge_that_takes_long_comes_with_advice() -> None:
    plan = MergePlan(2**30, reading=4 * 10**12, solving=6 * 10**12)
    slow = Merging(8, 3, 16, 124, plan, anchors=2**30)
    [found] = doctor._merges(
        slow, Compute("bfloat16", "measured", {"bfloat16": 10.0, "float32": 10.0})
    )
    assert found.state == "hint"
    assert "each about 1000 s" in found.detail
    assert "lower breeding.regmean.texts or members" in found.detail
    [found] = doctor._merges(
        slow, Compute("bfloat16", "measured", {"bfloat16": 4000.0, "float32": 1000.0})
    )
    assert (found.state, found.figures["seconds"]) == ("ok", 7.0)
    assert (
        doctor._merges(None, Compute("bfloat16", "measured", {"bfloat16": 10.0, "float32": 10.0}))
        == []
    )


async def test_a_seed_that_is_read_otherwise_than_peft_does_fails(
    tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = write_adapter(tmp_path / "delta")
    config = RunConfig(models=models_of(tiny_family, adapter))
    loaded = load_bank(config.models, config.spectral, tmp_path / "cache")
    [found] = doctor._witness(loaded, config.engine)
    assert found.state == "ok"
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "lora_alpha": 9}))
    [found] = doctor._witness(loaded, config.engine)
    assert found.state == "failed"
    assert "delta computes otherwise" in found.detail
    monkeypatch.setattr(doctor, "free_memory", lambda: 1000)
    [found] = doctor._witness(loaded, config.engine)
    assert found.state == "hint"
    assert "not compared" in found.detail


async def test_doctor_says_whether_workers_find_a_place() -> None:
    wanted = {"kind": "local", "workers": 2}
    config = RunConfig.model_validate({"cluster": wanted, "engine": {"device": "cpu"}})
    found = await doctor._cluster(config)
    assert found.state == "ok"
    assert found.figures["workers"] == 2
    config = RunConfig.model_validate({"cluster": wanted, "engine": {"device": "cuda:7"}})
    config = config.model_copy(update={"cluster": config.cluster.model_copy(update={"gpus": 1.0})})
    found = await doctor._cluster(config)
    assert found.state == "failed"
    assert "set it to auto" in found.detail
