"""Runs a coevolution to its end, and goes on with one that was interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agents.chat.endpoints import OFFLINE
from agents.config import RunConfig
from agents.context import RunContext
from agents.graph import RunState, build_graph
from agents.progress import Progress, ProgressEvent
from console.errors import ConfigError
from console.run.checkpoints import THREAD, open_checkpoints
from console.run.config import cache_folder
from console.run.folder import RunFolder
from console.run.opening import open_context
from evolution.engines.compute import choose_compute
from evolution.planning.sizes import longest_sequence
from memory.store import RunStore
from memory.threads import done_in_own_thread

RECURSION_LIMIT = 100_000


async def coevolve(
    folder: RunFolder, config: RunConfig, progress: Progress, shared: Path | None = None
) -> None:
    """Run, or go on with, a coevolution until its report is stored.

    Args:
        folder: of the run.
        config: of the run.
        progress: where events are reported.
        shared: folder of the answers that it shares with other runs, if it does.

    Raises:
        AcdcError: see the message; the same command goes on where the run stands.
    """
    if _nothing_left(folder, config):
        progress(ProgressEvent("line", f"{folder.path} is finished; nothing is left to do"))
        return
    async with open_to_run(folder, config, progress, shared) as context:
        context.store.put_meta("finished", False)
        if config.cluster.kind != "ray":
            progress(ProgressEvent("line", f"experts are computed in {_computed(config)}"))
        async with open_checkpoints(folder.checkpoints, progress) as saver:
            await _drive(context, saver)


def _asks_larger_finals(folder: RunFolder, config: RunConfig) -> bool:
    stored, wanted = folder.finals(), config.finals
    return wanted.instances > stored.instances or wanted.experts > stored.experts


def _nothing_left(folder: RunFolder, config: RunConfig) -> bool:
    """Whether a run has done all that is asked for, known before anything else is opened.

    So a finished run needs no endpoint, sandbox, model or server. What it was given anew is kept.

    Raises:
        AcdcError: the run is open elsewhere, or its database cannot be used.
    """
    folder.refuse_lost_database()
    if not folder.database.is_file():
        return False
    folder.refuse_links()
    with RunStore.open(folder.path) as store:
        latest = store.latest_archive()
        done = latest is not None and latest[0] >= config.generations
        if not done or not store.meta("finished") or _asks_larger_finals(folder, config):
            return False
        folder.keep(config)
    return True


@asynccontextmanager
async def open_to_run(
    folder: RunFolder, config: RunConfig, progress: Progress, shared: Path | None = None
) -> AsyncIterator[RunContext]:
    """Open a run for work, after what can be checked before any work is done.

    Raises:
        AcdcError: the engine is not installed, an endpoint does not answer, answers cannot fit
            the model, or as `open_context`.
    """
    progress(ProgressEvent("step", "loading: base model"))
    await done_in_own_thread(lambda: _check_context(config))
    config.engine.settled()
    async with open_context(folder, config, progress, shared) as context:
        await _check_endpoints(context, config)
        folder.keep(config)
        yield context


def _computed(config: RunConfig) -> str:
    """The number format of a run, and why it is that one."""
    by_itself = config.engine.model_copy(update={"compute": "auto"})
    found = choose_compute(by_itself, config.models.dtype, cache_folder())
    if found.dtype != config.engine.compute:
        found = choose_compute(config.engine, config.models.dtype, cache_folder())
    return str(found)


SHORTEST_PROMPT = 64
"""Tokens of a short question with its opening."""


def _check_context(config: RunConfig) -> None:
    """Refuse answers so long that no question fits before them; known before anything is loaded.

    Raises:
        ConfigError: with the most that is possible.
    """
    context = longest_sequence(config.models, config.engine, cache_folder())
    longest = config.judge.max_tokens
    if longest > context - SHORTEST_PROMPT:
        raise ConfigError(
            f"judge.max_tokens = {longest}: question and answer share the model's context of "
            f"{context} tokens; set it to {max(context // 2, 1)} or less"
        )


async def _check_endpoints(context: RunContext, config: RunConfig) -> None:
    """Ask each endpoint once before any work is done, so that one that is down is known first."""
    for role in config.endpoints.distinct():
        if config.endpoints.of(role).base_url != OFFLINE:
            await context.chat.check(role)


async def _drive(context: RunContext, saver: AsyncSqliteSaver) -> None:
    graph = build_graph(saver)
    settings: RunnableConfig = {**THREAD, "recursion_limit": RECURSION_LIMIT}
    snapshot = await graph.aget_state(settings)
    begin: RunState = {"generation": 0}
    latest = context.store.latest_archive()
    # Checkpoints may end before run.db does, as with a torn log: a generation that is over must not
    # be judged again on the families of a later one. `opening` goes on behind it.
    behind = latest is not None and snapshot.values.get("generation", 0) <= latest[0]
    going_on = snapshot.next and not behind
    await graph.ainvoke(None if going_on else begin, settings, context=context)
