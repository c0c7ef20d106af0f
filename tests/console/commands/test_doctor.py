"""What `acdc doctor` says of memory and seeds before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.console.conftest import Acdc


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
        "sandbox, at most",
    }
    assert all(need["bytes"] > 0 for need in plan["needs"])
    seeds = found["mergeability"]["figures"]
    assert 0.7 < seeds["ratio"] <= 1.0
    assert all(abs(cosine) < 0.2 for _, _, cosine in seeds["cosines"])
    assert all(0.4 < share < 0.6 for _, _, share in seeds["sign_agreement"])
    assert found["mergeability"]["state"] == "hint"
