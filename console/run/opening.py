"""Builds what a command works with out of a configuration and a run folder, and takes it down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from agents.archive.grafting import restore
from agents.chat import ChatClient
from agents.chat.endpoints import OFFLINE
from agents.config import RunConfig
from agents.context import RunContext
from agents.families.folders import write_family
from agents.judge.consult import consulted
from agents.offline import OfflineTransport
from agents.progress import Progress, ProgressEvent, silent
from agents.sandbox import open_sandbox
from console.errors import ConfigError
from console.run.config import cache_folder
from console.run.folder import RunFolder
from evolution.population import Population
from evolution.stages import Stages
from memory.novelty.embedding import open_embedder
from memory.novelty.memory import NoveltyMemory
from memory.novelty.recorded import RecordedEmbedder
from memory.spans import tracing
from memory.store.store import RunStore
from prompts import PromptError, PromptLibrary

PROMPTS_KEY = "prompts"
PROMPTS_IN_KEYS = ("answer", "rate")
"""What experts are asked and answers are rated with; the agents' own prompts may change."""


def writes_offline(config: RunConfig) -> bool:
    """Whether all families are of the offline scientist's making, code of this project."""
    return not config.endpoints.is_live("scientist") and not config.pool.families


def _all_ours(store: RunStore) -> bool:
    """Whether no family of a run comes from elsewhere, as one may that was begun otherwise."""
    return all(family.scientist == OFFLINE for family in store.families())


def open_prompts(config: RunConfig) -> PromptLibrary:
    """The prompts of a configuration, all of them read and checked.

    Raises:
        ConfigError: the user's folder, or a file in it, cannot be used.
    """
    folder = config.prompts.folder
    try:
        library = PromptLibrary(None if folder is None else Path(folder).expanduser())
        library.check()
    except PromptError as error:
        raise ConfigError(f"prompts.folder: {error}") from error
    return library


def _hold_prompts(store: RunStore, prompts: PromptLibrary, place: Path) -> None:
    """Refuse prompts that would change what the run's answers and grades stand for.

    Raises:
        ConfigError: one of them is not what it was when the run was begun.
    """
    before: Any = store.meta(PROMPTS_KEY)
    now = {name: prompts.prompt(name).hash for name in PROMPTS_IN_KEYS}
    if before is None:
        store.put_meta(PROMPTS_KEY, dict(now))
        return
    for name in PROMPTS_IN_KEYS:
        if before[name] != now[name]:
            raise ConfigError(
                f"{place} was begun with another text of the prompt {name!r}, which is part of "
                "what its answers mean; put that file back, or start another run folder"
            )


def _told_by(progress: Progress) -> Stages:
    """Stages of loading, from whichever thread, as events of the run."""
    loop = asyncio.get_running_loop()

    def tell(stage: str, done: int, total: int) -> None:
        event = ProgressEvent("step", f"loading: {stage}", done, total)
        loop.call_soon_threadsafe(progress, event)

    return tell


@asynccontextmanager
async def open_context(
    folder: RunFolder,
    config: RunConfig,
    progress: Progress = silent,
    shelf: Path | None = None,
) -> AsyncIterator[RunContext]:
    """Open every room of a run for work; the only process that may write to it.

    Args:
        folder: of the run.
        config: of the run.
        progress: where it tells what it does.
        shelf: folder of the answers that it shares with other runs, if it does.

    Raises:
        AcdcError: the run is open elsewhere, a part cannot be opened, or something is missing.
    """
    prompts = open_prompts(config)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(RunStore.open(folder.path))
        stack.enter_context(tracing(store.path))
        _hold_prompts(store, prompts, folder.path)
        embedder = RecordedEmbedder(open_embedder(config.novelty), store)
        novelty = stack.enter_context(
            NoveltyMemory.open(folder.path, embedder, config.novelty, run_id=store.run_id())
        )
        chat = ChatClient(config.endpoints, store, transport=OfflineTransport())
        stack.push_async_callback(chat.close)
        has_rater = config.endpoints.is_live("rater")
        sandbox = await asyncio.to_thread(
            open_sandbox,
            config.sandbox,
            trusted=writes_offline(config) and _all_ours(store),
            judge=consulted(chat, prompts, config.judge.votes, config.seed) if has_rater else None,
        )
        stack.push_async_callback(sandbox.close)
        population = Population(
            config.models,
            config.spectral,
            config.engine,
            cache_folder(),
            extend=partial(restore, store, folder.path),
            stages=_told_by(progress),
        )
        stack.push_async_callback(population.close)
        families = store.families()
        await asyncio.to_thread(novelty.reconcile, families)
        # A run of an older schema has vectors in Chroma alone; readers look into run.db.
        await asyncio.to_thread(embedder.embed, [family.novelty_text() for family in families])
        for family in families:
            write_family(folder.path / "tasks", family)
        yield RunContext(
            folder=folder.path,
            config=config,
            store=store,
            novelty=novelty,
            chat=chat,
            prompts=prompts,
            sandbox=sandbox,
            population=population,
            shared_answers=stack.enter_context(RunStore.open(shelf)) if shelf is not None else None,
            progress=progress,
        )
