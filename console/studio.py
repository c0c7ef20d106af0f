"""The graph for `langgraph dev`; a thread there drives the run in the folder named ACDC_RUN."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.graph import RunState, build_graph
from console.assembly import open_context
from console.rundir import RunFolder


@asynccontextmanager
async def make_graph() -> AsyncIterator[CompiledStateGraph[RunState, None, RunState, RunState]]:
    """Open the run folder and bind its handles to the graph, which Studio cannot pass itself."""
    folder = RunFolder(Path(os.environ.get("ACDC_RUN", "runs/studio")))
    config = folder.begin(None, ())
    async with open_context(folder, config) as context:
        coevolution = build_graph()

        async def coevolve(state: RunState) -> RunState:
            latest = context.store.latest_archive()
            begin: RunState = {"generation": latest[0] + 1 if latest else 0}
            await coevolution.ainvoke(begin, context=context)
            return {"generation": context.generations}

        graph = StateGraph(RunState)
        graph.add_node("coevolution", coevolve)
        graph.add_edge(START, "coevolution")
        graph.add_edge("coevolution", END)
        yield graph.compile(name="acdc")
