"""A run store and scripted servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memory.store import RunStore
from tests.agents.chat.scripted_server import Act, Script, ScriptedServer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as stack:

        def start(script: Script | Act, models: list[str] | None = None) -> ScriptedServer:
            acts = script if callable(script) or isinstance(script, list) else [script]
            return stack.enter_context(ScriptedServer(acts, models).running())

        yield start
