"""Files of tensors that can be computed again, cached by content and written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


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
    """Write in one step: another process sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def keep_json(path: Path, content: object) -> None:
    """Write something small that can be found again; where that is not possible, it is not kept."""
    draft = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(content), encoding="utf-8")
        os.replace(draft, path)
