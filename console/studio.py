"""The graph for `langgraph dev`: a thread there begins, or goes on with, the run in ACDC_RUN."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime

from agents.context import RunContext
from agents.graph import RunState, build_graph
from agents.progress import ProgressEvent
from console.run.coevolution import open_to_run
from console.run.folder import RunFolder


@asynccontextmanager
async def make_graph(
    runtime: ServerRuntime[Any],
) -> AsyncIterator[CompiledStateGraph[RunState, RunContext, RunState, RunState]]:
    """The run's own graph; only where it is to be executed, with the run opened behind it.

    The server asks for the graph to draw it or to read a thread, too. Clients cannot pass stores
    and engines, so the nodes are bound to theirs here.
    """
    if runtime.execution_runtime is None:
        yield build_graph()
        return
    folder = RunFolder(Path(os.environ.get("ACDC_RUN", "runs/studio")))
    config = folder.begin(None, ())
    async with open_to_run(folder, config, _stream) as context:
        yield build_graph(context=context)


def _stream(event: ProgressEvent) -> None:
    """Events of the run are what the thread streams as custom data."""
    try:
        write = get_stream_writer()
    except (RuntimeError, AttributeError):
        # Loading happens before the first node, where there is no stream yet.
        return
    write(asdict(event))
