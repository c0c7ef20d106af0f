"""From settings to an engine."""

from __future__ import annotations

from evolution.bank import Bank
from evolution.engines.base import Engine
from evolution.engines.transformers import TransformersEngine
from evolution.settings import EngineSettings


def open_engine(bank: Bank, settings: EngineSettings) -> Engine:
    """Start the configured engine with the base's weights.

    Raises:
        EngineError: the device is not there, or the model cannot be served.
    """
    return TransformersEngine(bank, settings)
