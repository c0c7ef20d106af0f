"""Opens a run for reading: it may be live in another process, and nothing in it is changed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from agents.archive.grafting import FOLDER, occasions, restore
from agents.chat.client import ChatClient
from agents.config import RunConfig
from agents.context import ReadContext
from agents.evaluation.scoring import borrows_scorer
from agents.offline import OfflineTransport, wrote
from agents.progress import Progress, ProgressEvent, silent
from agents.sandbox import open_sandbox
from agents.sandbox.on_demand import OnDemandSandbox
from console.errors import ConfigError
from console.run.config import cache_folder
from console.run.folder import RunFolder
from evolution.population import Population
from evolution.stages import Stages
from memory.store import RunStore
from prompts import PromptError, PromptLibrary

PROMPTS_KEY = "prompts"
PROMPTS_IN_KEYS = ("answer", "rate")
"""What experts are asked and answers are rated with; the agents' own prompts may change."""


@asynccontextmanager
async def open_reading(
    folder: RunFolder,
    config: RunConfig,
    progress: Progress = silent,
    calls: RunStore | None = None,
) -> AsyncIterator[ReadContext]:
    """Open what it takes to let the experts of a run answer.

    No lock is taken, no sandbox opened, no file of the run changed. (SQLite may touch its index of
    the write-ahead log, `run.db-shm`, which readers and writer share.)

    Args:
        folder: of the run.
        config: of the run.
        progress: where loading is reported.
        calls: where calls of chooser and rater are recorded and found again; by default they are
            forgotten at the end.

    Raises:
        AcdcError: the run cannot be read, or something that it needs is missing.
    """
    prompts = open_prompts(config)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(RunStore.open(folder.path, read_only=True))
        check_prompts(store, prompts, folder.path)
        if calls is None:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="acdc-calls-"))
            calls = stack.enter_context(RunStore.open(Path(place)))
        chat = ChatClient(config.endpoints, calls, prompts, transport=OfflineTransport())
        stack.push_async_callback(chat.close)
        population = open_population(folder, config, store, progress)
        stack.push_async_callback(population.close)
        yield ReadContext(
            folder=folder.path,
            config=config,
            store=store,
            chat=chat,
            prompts=prompts,
            population=population,
            progress=progress,
        )


@asynccontextmanager
async def open_scoring(context: ReadContext) -> AsyncIterator[OnDemandSandbox]:
    """A sandbox for scorers and for the families of a run, opened when it is first needed."""
    sandbox = OnDemandSandbox(
        partial(
            open_sandbox,
            context.config.sandbox,
            ours=_ours if is_all_ours(context.config, context.store) else None,
        )
    )
    try:
        yield sandbox
    finally:
        await sandbox.close()


def _ours(code: str) -> bool:
    """Whether a program is a family of the offline scientist, or a scorer of reasoning-gym."""
    return wrote(code) or borrows_scorer(code)


def is_all_ours(config: RunConfig, store: RunStore | None = None) -> bool:
    """Whether all families are code of this project, written by the offline scientist.

    That they are is seen by their code; what the records of a run say of it counts for nothing.

    Args:
        config: of the run.
        store: its store; None for a run that is still to be begun.
    """
    offline = not config.endpoints.is_live("scientist") and not config.pool.families
    # A run may have been begun with another scientist than it has now.
    return offline and (store is None or all(wrote(family.code) for family in store.families()))


def open_population(
    folder: RunFolder, config: RunConfig, store: RunStore, progress: Progress
) -> Population:
    """The bank and engine of a run, loaded when they are first used."""
    return Population(
        config.models,
        config.spectral,
        config.engine,
        cache_folder(),
        extend=partial(restore, store, folder.path, config.breeding.regmean.anchors),
        stages=_reported_to(progress),
        occasions=occasions(config),
        cluster=config.cluster,
        anchors=folder.path / FOLDER,
    )


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


def check_prompts(store: RunStore, prompts: PromptLibrary, place: Path) -> None:
    """Refuse prompts that would change what the run's answers and grades stand for.

    Raises:
        ConfigError: one of them is not what it was when the run was begun.
    """
    before = store.meta(PROMPTS_KEY)
    if not isinstance(before, dict):
        return
    for name in PROMPTS_IN_KEYS:
        if before.get(name) != prompts.prompt(name).hash:
            raise ConfigError(
                f"{place} was started with another text of the prompt {name!r}, which is part of "
                "what its answers mean; put that file back, or start another run folder"
            )


def _reported_to(progress: Progress) -> Stages:
    """Stages of loading, from whichever thread, as events of the run."""
    loop = asyncio.get_running_loop()

    def report(stage: str, done: int, total: int) -> None:
        event = ProgressEvent("step", f"loading: {stage}", done, total)
        loop.call_soon_threadsafe(progress, event)

    return report
