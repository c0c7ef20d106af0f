"""Builds what a command works with out of a configuration and a run folder, and takes it down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import get_args

from agents.chat.client import ChatClient
from agents.config import RunConfig
from agents.context import RunContext
from agents.families.folders import write_family
from agents.judge.consult import consulted
from agents.offline import OfflineTransport, wrote
from agents.progress import Progress, ProgressEvent, silent
from agents.sandbox import open_sandbox
from console.run.folder import RunFolder
from console.run.now import put_waits
from console.run.permissions import machine_key
from console.run.reading import (
    PROMPTS_IN_KEYS,
    PROMPTS_KEY,
    check_prompts,
    is_all_ours,
    open_population,
    open_prompts,
)
from memory.errors import StoreError
from memory.novelty.embedding import open_embedder
from memory.novelty.memory import NoveltyMemory
from memory.novelty.recorded import RecordedEmbedder
from memory.records import LongWait, Role
from memory.spans import span, tracing
from memory.store import RunStore
from memory.waits import Wait, watched
from prompts import example_programs


@asynccontextmanager
async def open_context(
    folder: RunFolder,
    config: RunConfig,
    progress: Progress = silent,
    shared: Path | None = None,
) -> AsyncIterator[RunContext]:
    """Open every room of a run for work; the only process that may write to it.

    Args:
        folder: of the run.
        config: of the run.
        progress: where events are reported.
        shared: folder of the answers that it shares with other runs, if it does.

    Raises:
        AcdcError: the run is open elsewhere, a part cannot be opened, or something is missing.
    """
    folder.refuse_links()
    folder.refuse_lost_database()
    prompts = open_prompts(config)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(RunStore.open(folder.path))
        waits = stack.enter_context(tracing(store.path, secrets=_keys(config)))
        stack.enter_context(watched(waits, reported(store, progress)))
        check_prompts(store, prompts, folder.path)
        if store.meta(PROMPTS_KEY) is None:
            hashes = {name: prompts.prompt(name).hash for name in PROMPTS_IN_KEYS}
            store.put_meta(PROMPTS_KEY, dict(hashes))
        embedder = RecordedEmbedder(open_embedder(config.novelty), store)
        novelty = stack.enter_context(
            NoveltyMemory.open(
                folder.path, embedder, config.novelty, run_id=store.run_id(), key=machine_key()
            )
        )
        chat = ChatClient(config.endpoints, store, prompts, transport=OfflineTransport())
        stack.push_async_callback(chat.close)
        has_rater = config.endpoints.is_live("rater")
        sandbox = await asyncio.to_thread(
            open_sandbox,
            config.sandbox,
            ours=_ours if is_all_ours(config, store) else None,
            judge=consulted(chat, config.judge.votes, config.seed) if has_rater else None,
        )
        stack.push_async_callback(_closing, "sandbox", sandbox.close)
        population = open_population(folder, config, store, progress)
        stack.push_async_callback(_closing, "engine", population.close)
        families = store.families()
        await asyncio.to_thread(novelty.reconcile, families)
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
            shared_answers=stack.enter_context(RunStore.open(shared))
            if shared is not None
            else None,
            progress=progress,
        )


async def _closing(what: str, close: Callable[[], Awaitable[None]]) -> None:
    with span("step", f"closing the {what}"):
        await close()


def reported(
    store: RunStore, progress: Progress
) -> Callable[[Sequence[Wait], Sequence[Wait]], None]:
    """Passes long waits on: to the display, to `acdc status`, and once to the run's events."""
    kept: set[str] = set()

    def report(found: Sequence[Wait], ended: Sequence[Wait]) -> None:
        for wait in ended:
            progress(ProgressEvent("waiting", wait.what, 0))
        for wait in found:
            progress(ProgressEvent("waiting", wait.what, int(wait.seconds)))
        new = [wait for wait in found if wait.span not in kept]
        kept.update(wait.span for wait in new)
        with suppress(StoreError):  # the run itself reports what is wrong with its store
            for wait in new:
                seconds = round(wait.seconds, 1)
                store.add_event(LongWait(span=wait.span, what=wait.what, seconds=seconds))
            put_waits(store, found)

    return report


_SHORTEST_KEY = 8
"""Shorter ones are no secret, as the `EMPTY` that servers without keys are given."""


def _keys(config: RunConfig) -> list[str]:
    """The keys of all endpoints, which nothing that is kept may hold."""
    variables = {config.endpoints.of(role).api_key_env for role in get_args(Role)}
    variables |= {config.novelty.embedder_key_env}
    keys = (os.environ.get(name, "").strip() for name in variables if name)
    return [key for key in keys if len(key) >= _SHORTEST_KEY]


def _ours(code: str) -> bool:
    """Whether a program is a family of the offline scientist, or an example of the prompts."""
    return wrote(code) or code in example_programs().values()
