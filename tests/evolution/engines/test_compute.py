"""Which number format experts are computed in, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from evolution.engines import compute
from evolution.engines.compute import choose_compute, device_of
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError

AVX2 = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_PROBE_SIDE", 64)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def on(capabilities: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compute, "_capabilities", lambda: capabilities)


def chosen(tmp_path: Path, weights: str = "bfloat16", **settings: Any) -> compute.Compute:
    return choose_compute(EngineSettings(device="cpu", **settings), weights, tmp_path)


def test_without_bfloat16_instructions_it_is_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(AVX2, monkeypatch)
    found = chosen(tmp_path)
    assert found.dtype == "float32"
    assert found.reason == "this CPU does not multiply bfloat16 natively"
    assert set(found.gflops) == {"bfloat16", "float32"}
    assert "GFLOP/s" in str(found)


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "arm_bf16"])
def test_with_such_instructions_it_is_that_of_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    on({**AVX2, flag: True}, monkeypatch)
    assert chosen(tmp_path).dtype == "bfloat16"


@pytest.mark.parametrize(("fast", "slow"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_where_no_flag_tells_a_measurement_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: str, slow: str
) -> None:
    on({}, monkeypatch)
    monkeypatch.setattr(
        compute,
        "measure_gflops",
        lambda dtype, *_: 9.0 if dtype is getattr(torch, fast) else 1.0,
    )
    found = chosen(tmp_path)
    assert found.dtype == fast
    assert found.reason == "the faster of the two when measured"
    assert found.gflops == {fast: 9.0, slow: 1.0}


def test_instructions_that_were_switched_off_are_not_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on({**AVX2, "avx512_bf16": True}, monkeypatch)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert chosen(tmp_path).reason == "the faster of the two when measured"


def test_a_setting_decides(tmp_path: Path) -> None:
    assert chosen(tmp_path, compute="float16").dtype == "float16"
    assert chosen(tmp_path, weights="float32").dtype == "float32"


def test_speeds_are_measured_once_per_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chosen(tmp_path)
    monkeypatch.setattr(compute, "measure_gflops", lambda *_: pytest.fail("is known"))
    assert chosen(tmp_path) == first
    [file] = (tmp_path / "compute").iterdir()
    monkeypatch.setattr(compute, "measure_gflops", lambda *_: 1.0)
    for damage in ("{", "[]", "null", '{"bfloat16": null}'):
        file.write_text(damage)
        assert chosen(tmp_path).gflops == {"bfloat16": 1.0, "float32": 1.0}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert set(chosen(tmp_path / "file").gflops) == {"bfloat16", "float32"}


def test_devices_that_are_not_there_are_named() -> None:
    with pytest.raises(EngineError, match="'cuda:99' does not exist"):
        device_of("cuda:99")
    with pytest.raises(EngineError, match="'gpu' is not a device"):
        device_of("gpu")
