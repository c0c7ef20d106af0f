"""From settings to an engine."""

from __future__ import annotations

import logging
from collections.abc import Callable

from evolution.bank.bank import Bank
from evolution.engines.base import Engine
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers.engine import TransformersEngine


def _vllm(bank: Bank, settings: EngineSettings) -> Engine:
    # What vLLM says while it is imported belongs into no run's display.
    logging.getLogger("vllm").addHandler(logging.NullHandler())
    # Takes seconds to import, and is not there unless it was asked for.
    from evolution.engines.vllm.engine import VllmEngine

    return VllmEngine(bank, settings)


ENGINES: dict[str, Callable[[Bank, EngineSettings], Engine]] = {
    "transformers": TransformersEngine,
    "vllm": _vllm,
}


def open_engine(bank: Bank, settings: EngineSettings) -> Engine:
    """Start the configured engine.

    Raises:
        EngineError: it is not installed, its device is not there, or it cannot serve the model.
    """
    settings = settings.settled()
    return ENGINES[settings.kind](bank, settings)
