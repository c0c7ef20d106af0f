"""Files of checkpoints, which may hold anything: read, or refused in a line that names the file."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from evolution.errors import CheckpointError
from memory.messages import first_line

CONFIG = "config.json"
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    SafetensorError,
    StrictDataclassError,
)
"""What libraries raise when they are given files that they did not expect."""

_READ = (".json", ".jinja", ".model", ".safetensors", ".txt")
_LARGEST_JSON = 1 << 28
_MOST_LAYERS = 4096
"""Building the layout of more would take longer than anybody waits."""
_AT_LEAST_ONE = (
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
)


def check_files(folder: Path, label: str) -> None:
    """Refuse what is no file where a library would read one: it might wait for ever.

    Raises:
        CheckpointError: names it.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _READ and not stat.S_ISREG(path.stat().st_mode):
                raise CheckpointError(f"{label}: {path.name} is not a file")
    except OSError as error:
        raise CheckpointError(f"{label} cannot be read: {first_line(error)}") from error


@contextmanager
def panics_refused() -> Iterator[None]:
    """Readers in Rust end in a panic, which is no `Exception`, or a bare `Exception` of no type.

    Raises:
        RuntimeError: there was one.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(f"its reader gives up ({first_line(error)})") from None


def read_json(path: Path, label: str) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        CheckpointError: names the file.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise CheckpointError(f"{label}: {path.name} is larger than any file of its kind")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{label}: {path.name} cannot be read: {first_line(error)}"
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{label}: {path.name} holds no object")
    return found


def read_config(folder: Path, label: str) -> Any:
    """The configuration of transformers of a full checkpoint.

    Raises:
        CheckpointError: there is none, or it holds what no model can have.
    """
    check_files(folder, label)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{label} has neither config.json nor adapter_config.json")
    _check_numbers(read_json(folder / CONFIG, label), label)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{label}: config.json cannot be read: {first_line(error)}"
        ) from error


def _check_numbers(stated: Mapping[str, Any], label: str) -> None:
    """Refuse sizes that are none, before anything is built of them."""
    for key, value in stated.items():
        if isinstance(value, Mapping):
            _check_numbers(value, label)
        elif isinstance(value, float) and math.isnan(value):
            raise CheckpointError(f"{label}: config.json says {key} = NaN, which is no number")
        elif isinstance(value, int | float) and (key.startswith("num_") or key in _AT_LEAST_ONE):
            least = 1 if key in _AT_LEAST_ONE else 0
            most = _MOST_LAYERS if key.endswith("layers") else 2**31
            if not least <= value <= most:
                raise CheckpointError(
                    f"{label}: config.json says {key} = {value}, which is not {least} to {most}"
                )
