"""Whatever PEFT can write weighs as PEFT reads it, or is refused by name: no third outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evolution.errors import CheckpointError
from tests.evolution.bank.adapter_cases import READ, REFUSED, adapter_outcome, open_bank, write

if TYPE_CHECKING:
    from tests.conftest import TinyFamily


@pytest.mark.parametrize("changes", READ.values(), ids=READ)
def test_what_is_read_weighs_as_peft_merges_it(
    changes: dict[str, Any], tiny_family: TinyFamily, tmp_path: Path
) -> None:
    assert adapter_outcome(changes, tiny_family, tmp_path) == "read"


@pytest.mark.parametrize(("changes", "key"), REFUSED.values(), ids=REFUSED)
def test_what_means_something_else_is_refused_by_name(
    changes: dict[str, Any], key: str, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    assert key in adapter_outcome(changes, tiny_family, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a_key_of_the_future", {"on": True}),
        ("init_lora_weights", "a_method_of_the_future"),
        ("lora_alpha", None),
        ("lora_alpha", "much"),
        ("lora_alpha", float("nan")),
        ("alpha_pattern", {"(": 3}),
        ("alpha_pattern", ["q_proj"]),
    ],
)
def test_what_is_not_known_or_absurd_is_refused_in_a_line(
    key: str, value: Any, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    adapter = write(tiny_family.base, tmp_path / "adapter", {})
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=key) as refusal:
        open_bank(tiny_family, adapter, tmp_path / "cache")
    assert "\n" not in str(refusal.value)
