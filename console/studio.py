"""The graph for `langgraph dev`: a thread there begins, or goes on with, the run in ACDC_RUN."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.graph import RunState
from console.run.coevolution import coevolve
from console.run.folder import RunFolder


async def coevolution(state: RunState) -> RunState:
    """Run to the end; the events of the run are what the thread streams as custom data."""
    write = get_stream_writer()
    folder = RunFolder(Path(os.environ.get("ACDC_RUN", "runs/studio")))
    config = folder.begin(None, ())
    await coevolve(folder, config, lambda event: write(asdict(event)))
    return {"generation": config.generations}


def make_graph() -> CompiledStateGraph[RunState, None, RunState, RunState]:
    """One node: the stores and engines of a run are its own, and no client could pass them."""
    graph = StateGraph(RunState)
    graph.add_node("coevolution", coevolution)
    graph.add_edge(START, "coevolution")
    graph.add_edge("coevolution", END)
    return graph.compile(name="acdc")
