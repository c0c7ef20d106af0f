"""From settings to an engine."""

from __future__ import annotations

from collections.abc import Callable

from evolution.bank import Bank
from evolution.engines.base import Engine
from evolution.engines.transformers import TransformersEngine
from evolution.settings import EngineSettings

ENGINES: dict[str, Callable[[Bank, EngineSettings], Engine]] = {
    "transformers": TransformersEngine,
}


def open_engine(bank: Bank, settings: EngineSettings) -> Engine:
    """Start the configured engine.

    Raises:
        EngineError: the device is not there, or the model cannot be served.
    """
    return ENGINES[settings.kind](bank, settings)
