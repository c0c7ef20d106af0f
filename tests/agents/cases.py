"""Runs, families and scripted services that the tests of several folders work with."""

from __future__ import annotations

from typing import Any

from agents.config import RunConfig
from agents.context import RunContext
from memory.store import RunStore
from prompts import PromptLibrary


def run_context(store: RunStore, config: RunConfig | None = None, **rooms: Any) -> RunContext:
    """A run over a store; rooms that are not named are absent."""
    absent: dict[str, Any] = dict.fromkeys(("chat", "population", "novelty", "sandbox"))
    return RunContext(
        folder=store.path.parent,
        config=config or RunConfig(),
        store=store,
        prompts=PromptLibrary(),
        **(absent | rooms),
    )
