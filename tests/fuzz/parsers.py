"""Every parser that is fuzzed, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.harness import Parser
from tests.fuzz.requests import REQUESTS
from tests.fuzz.texts import TEXTS
from tests.fuzz.weights import WEIGHTS

PARSERS: dict[str, Callable[[Path], Parser]] = {**TEXTS, **WEIGHTS, **REQUESTS}
"""Name -> opens it in a folder of its own."""
