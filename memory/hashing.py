"""Content hashes: the same bytes give the same identifier in every process and on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def text_hash(text: str, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def json_hash(value: Any, length: int = 16) -> str:
    """Hash of a JSON-serialisable value, independent of the order of keys."""
    return text_hash(
        json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")), length
    )
