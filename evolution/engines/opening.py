"""From settings to an engine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from evolution.engines.base import Engine
from evolution.engines.settings import EngineSettings

if TYPE_CHECKING:
    from evolution.bank.bank import Bank


def open_engine(bank: Bank, settings: EngineSettings) -> Engine:
    """Start the configured engine.

    Raises:
        EngineError: it is not installed, its device does not exist, or it cannot serve the model.
    """
    settings = settings.settled()
    # Each takes seconds to import, and vLLM need not be installed.
    if settings.kind == "vllm":
        # vLLM's messages during import do not belong in a run's display.
        logging.getLogger("vllm").addHandler(logging.NullHandler())
        from evolution.engines.vllm.engine import VllmEngine

        return VllmEngine(bank, settings)
    from evolution.engines.transformers.engine import TransformersEngine

    return TransformersEngine(bank, settings)
