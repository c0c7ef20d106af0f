"""The coevolution as a LangGraph state machine; it reads from top to bottom.

    opening -> founding + scientists -> admission -> merging -> judge -> selection
            -> (next generation | report)      no family has a new question left: judge -> report
    next generation = [curation -> scientists -> admission, every adapt_every generations]
                      -> evolution -> judge -> selection
    with pool.draft_ahead: before such a generation, evolution -> assignments -> judge + scientists

Scientists are a fan-out: one subgraph per open assignment, joined by `admission`, which decides
novelty in assignment order. With `pool.draft_ahead` they work beside the judge of the generation
before, on what was decided before it, and `admission` comes after its selection. Base and seeds are
loaded beside the first scientists; once there are families, the other founders are merged and bred
from them by what they are right on. The state holds counters and ids only; what was decided lies in
the run store, and every node may be run again after a crash without doing anything twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypedDict, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agents.archive.breeding import evolve
from agents.archive.founding import make_founders, make_seeds
from agents.archive.selection import select
from agents.context import RunContext
from agents.judge.node import judge_generation
from agents.pool.admission import admit
from agents.pool.adoption import adopt_given
from agents.pool.assignments import (
    expect_drafts,
    needs_another_wave,
    open_founding_wave,
    report_finished,
    require_families,
)
from agents.pool.audience import audience_of
from agents.pool.curation import assign_ahead, curate
from agents.progress import ProgressEvent
from agents.scientist.subgraph import ScientistContext, build_scientist
from agents.task_force.report import summarise_run
from memory.spans import OpenSpan, span


class RunState(TypedDict):
    """State of a run between nodes."""

    generation: int


class AssignmentState(TypedDict):
    """What one scientist is sent."""

    assignment: str


Handles = Runtime[RunContext]


@contextmanager
def phase(context: RunContext, name: str, generation: int | None = None) -> Iterator[OpenSpan]:
    """Time a phase of the run under its name, and announce it."""
    # Drafts of several generations may be at work, and the report belongs to none.
    counted = (0, 0) if generation is None else (generation, context.config.generations)
    context.progress(ProgressEvent("phase", name, *counted))
    # A phase is the root of its tree: viewers of traces list it by what went in and came out.
    about = None if generation is None else f"generation {generation}"
    with span("phase", name, generation=generation, input=about) as work:
        yield work


def build_graph(
    checkpointer: BaseCheckpointSaver[Any] | None = None, context: RunContext | None = None
) -> CompiledStateGraph[RunState, RunContext, RunState, RunState]:
    """Compile the run's graph.

    Args:
        checkpointer: where LangGraph keeps its checkpoints; None for `langgraph dev`, which
            brings its own.
        context: what the nodes work with, for callers that cannot pass it to each invocation.
    """
    # With a context of its own the graph takes none: a server would try to build one from JSON.
    schema: Any = RunContext if context is None else None
    graph = StateGraph[RunState, RunContext, RunState, RunState](RunState, context_schema=schema)
    graph.add_node("opening", _bound(opening, context))
    graph.add_node("founding", _bound(founding, context))
    graph.add_node("scientist", _bound(scientist, context), input_schema=AssignmentState)
    graph.add_node("admission", _bound(admission, context))
    graph.add_node("judge", _bound(judge, context))
    graph.add_node("merging", _bound(merging, context))
    graph.add_node("selection", _bound(selection, context))
    graph.add_node("curation", _bound(curation, context))
    graph.add_node("evolution", _bound(evolution, context))
    graph.add_node("assignments", _bound(assignments, context))
    graph.add_node("report", _bound(report, context))

    def branch(source: str, choose: Callable[..., Any], targets: list[str]) -> None:
        graph.add_conditional_edges(source, _bound(choose, context), targets)

    graph.add_edge(START, "opening")
    branch("opening", after_opening, ["founding", "scientist", "curation", "evolution", "report"])
    graph.add_edge("founding", "admission")
    branch("scientist", after_scientist, ["admission"])
    branch("admission", after_admission, ["opening", "evolution", "merging"])
    graph.add_edge("merging", "judge")
    branch("judge", after_judge, ["selection", "report"])
    branch("selection", after_selection, ["curation", "evolution", "report"])
    branch("curation", to_scientists, ["scientist", "admission"])
    branch("evolution", after_evolution, ["assignments", "judge"])
    branch("assignments", after_assignments, ["judge", "scientist"])
    graph.add_edge("report", END)
    compiled = graph.compile(checkpointer=checkpointer, name="acdc")
    # It keeps no checkpoints, so LangGraph does not find it; drawings and Studio should show it.
    compiled.nodes["scientist"].subgraphs = [cast(Any, build_scientist())]
    return compiled


def _bound(step: Callable[..., Any], context: RunContext | None) -> Callable[..., Any]:
    """A node or a branch with its context, where the caller of the graph cannot pass one."""
    if context is None:
        return step

    async def asynchronous(state: Any, runtime: Handles) -> Any:
        return await step(state, runtime.override(context=context))

    def synchronous(state: Any, runtime: Handles) -> Any:
        return step(state, runtime.override(context=context))

    return wraps(step)(asynchronous if iscoroutinefunction(step) else synchronous)


async def opening(state: RunState, runtime: Handles) -> RunState:
    """Begin, or go on behind the last generation; a new run gets a wave of founding assignments.

    Prompts of scientists describe who answers: before the first wave, seeds answer a few example
    questions.
    """
    context = runtime.context
    latest = context.store.latest_archive()
    if latest is not None:
        return {"generation": latest[0] + 1}
    await adopt_given(context)
    if needs_another_wave(context):
        with phase(context, "opening", 0):
            open_founding_wave(context, await audience_of(context))
    return {"generation": 0}


async def founding(state: RunState, runtime: Handles) -> None:
    """Load the bank; its base and seeds are the first experts."""
    with phase(runtime.context, "founding", 0):
        await make_seeds(runtime.context)


async def scientist(state: AssignmentState, runtime: Handles) -> None:
    """Run one scientist on one assignment: propose, trial, critique, refine."""
    context, name = runtime.context, state["assignment"]
    with (
        phase(context, "draft") as draft,
        span("agent", "scientist", assignment=name, input=name) as work,
    ):
        draft.set(input=name)
        expect_drafts(context, name)
        await build_scientist().ainvoke(
            {"assignment": name, "round": 0}, context=ScientistContext.of_run(context)
        )
        became = report_finished(context, name)
        draft.set(output=became)
        work.set(output=became)


async def admission(state: RunState, runtime: Handles) -> None:
    """Join the scientists: decide novelty and acceptance in assignment order."""
    with phase(runtime.context, "admission", state["generation"]):
        await admit(runtime.context, state["generation"])
        if state["generation"] == 0:
            require_families(runtime.context)


async def judge(state: RunState, runtime: Handles) -> None:
    """Let every expert that lacks grades answer, and grade the answers."""
    with phase(runtime.context, "judge", state["generation"]):
        await judge_generation(runtime.context, state["generation"])


async def merging(state: RunState, runtime: Handles) -> None:
    """Make the other founders of the seeds, by what each of these is right on."""
    with phase(runtime.context, "merging", 0):
        await make_founders(runtime.context)


async def selection(state: RunState, runtime: Handles) -> RunState:
    """Keep the survivors, and step to the next generation."""
    with phase(runtime.context, "selection", state["generation"]):
        await select(runtime.context, state["generation"])
    return {"generation": state["generation"] + 1}


async def curation(state: RunState, runtime: Handles) -> None:
    """Retire families and write assignments."""
    with phase(runtime.context, "curation", state["generation"]):
        audience = await audience_of(runtime.context)
        curate(runtime.context, state["generation"], audience)


async def evolution(state: RunState, runtime: Handles) -> None:
    """Choose parents and breed genomes."""
    with phase(runtime.context, "evolution", state["generation"]):
        await evolve(runtime.context, state["generation"])


async def assignments(state: RunState, runtime: Handles) -> None:
    """Write the assignments of the next adaptation, to be drafted while this one is judged."""
    with phase(runtime.context, "assignments", state["generation"]):
        audience = await audience_of(runtime.context)
        assign_ahead(runtime.context, state["generation"] + 1, audience)


async def report(state: RunState, runtime: Handles) -> None:
    """Choose task forces and sum up."""
    with phase(runtime.context, "report"):
        await summarise_run(runtime.context)


def after_opening(state: RunState, runtime: Handles) -> list[Send] | str:
    """Founders are made while the first families are drafted; an old run goes on."""
    if state["generation"] > 0:
        return after_selection(state, runtime)
    return [Send("founding", state), *_open_assignments(runtime, 0)]


def to_scientists(state: RunState, runtime: Handles) -> list[Send] | str:
    """One scientist per open assignment; none is open where they were drafted ahead."""
    return _open_assignments(runtime, state["generation"]) or "admission"


def after_scientist(state: RunState, runtime: Handles) -> list[str]:
    """Admission, unless it is drafted ahead: then the run goes on from the judge."""
    return ["admission"] if runtime.context.store.assignments(state["generation"]) else []


def after_evolution(state: RunState, runtime: Handles) -> str:
    """Assignments, where the families of the next adaptation are drafted beside the judge."""
    config, following = runtime.context.config, state["generation"] + 1
    adapts = following % config.pool.adapt_every == 0 and following <= config.generations
    return "assignments" if config.pool.draft_ahead and adapts else "judge"


def after_assignments(state: RunState, runtime: Handles) -> list[Send]:
    """The judge, and beside it one scientist per open assignment."""
    return [Send("judge", state), *_open_assignments(runtime, state["generation"] + 1)]


def after_admission(state: RunState, runtime: Handles) -> str:
    """At the founding: another wave while the pool is not full, then founders. Later: breed."""
    if state["generation"] > 0:
        return "evolution"
    return "opening" if needs_another_wave(runtime.context) else "merging"


def after_judge(state: RunState, runtime: Handles) -> str:
    """Selection, unless the pool has run out of questions and nobody was judged."""
    return "selection" if runtime.context.store.families("active") else "report"


def after_selection(state: RunState, runtime: Handles) -> str:
    """The next generation, by way of curation where the pool adapts, or the report."""
    generation = state["generation"]
    if generation > runtime.context.config.generations:
        return "report"
    return "curation" if generation % runtime.context.config.pool.adapt_every == 0 else "evolution"


def _open_assignments(runtime: Handles, generation: int) -> list[Send]:
    open_ones = runtime.context.store.assignments(generation, "open")
    return [Send("scientist", {"assignment": assignment.id}) for assignment in open_ones]
