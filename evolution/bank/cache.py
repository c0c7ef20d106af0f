"""Files of tensors that can be computed again, cached by content and written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evolution.errors import BankError
from memory.files import replace_file, replacement
from memory.messages import not_written


def load_cached(path: Path) -> dict[str, Tensor] | None:
    """What was stored there; None if nothing was, or if the file is damaged."""
    if not path.is_file():
        return None
    try:
        loaded: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError):
        return None
    return loaded


def save_cached(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write in one step: another process sees the whole file or none.

    Raises:
        BankError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacement(path) as draft:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft)
    except (OSError, SafetensorError) as error:
        raise BankError(not_written(path, error)) from error


def keep_json(path: Path, content: object) -> None:
    """Write something small that can be found again; where that is not possible, it is not kept."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(content))
