"""Detecting that vLLM has died: its client would otherwise wait forever for a killed process."""

from __future__ import annotations

import threading
import time
from typing import Any

from vllm.v1.engine.exceptions import EngineDeadError

_SECONDS = 0.5


def watch(llm: Any) -> None:
    """Fail what is waited for as soon as vLLM's processes are dead; ends with them.

    vLLM's own monitor notes the death, and refuses later requests, but does not wake whoever
    waits already.
    """
    core = llm.llm_engine.engine_core
    threading.Thread(
        target=_wake_at_death, args=(core,), name="acdc-vllm-watch", daemon=True
    ).start()


def _wake_at_death(core: Any) -> None:
    while not core.resources.engine_dead:
        time.sleep(_SECONDS)
    core.outputs_queue.put_nowait(EngineDeadError())
    for future in list(core.utility_results.values()):
        if not future.done():
            future.set_exception(EngineDeadError())
