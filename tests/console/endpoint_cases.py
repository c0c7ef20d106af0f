"""Endpoints that misbehave, and runs that are driven by them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from console.commands import status
from console.run.folder import RunFolder
from memory.store import RunStore
from tests.agents.chat.scripted_server import Act, Body, Say, ScriptedServer
from tests.console.scientist_server import reply_to


@contextmanager
def endpoint(mishap: Mishap) -> Iterator[ScriptedServer]:
    """A server that plays `mishap(n, body)` for its n-th chat request, or the good scientist."""
    count, guard = iter(range(10**9)), threading.Lock()

    def act(body: Body) -> Act:
        with guard:
            number = next(count)
        played = mishap(number, body)
        return Say(json.dumps(reply_to(body))) if played is None else played

    with ScriptedServer(act, ["scripted"]).running() as server:
        yield server


def words(config: Path, url: str, *more: str) -> list[str | Path]:
    settings = (*QUICK, f'endpoints.scientist.base_url="{url}"', *more)
    return ["--config", config, *(w for setting in settings for w in ("--set", setting))]


def finished(folder: Path) -> dict[str, Any]:
    found = status.collect(RunFolder(folder))
    assert found["finished"]
    assert found["generation"] == 1
    with RunStore.open(folder, read_only=True) as store:
        for assignment in store.assignments():
            outcome = store.assignment_status(assignment.id)
            assert outcome.status in ("accepted", "rejected")
            assert outcome.rejection is None or outcome.rejection.reason
    return found


def is_proposal(body: Body) -> bool:
    return "Proposal" in json.dumps(body.get("response_format", {}))


QUICK = (
    "generations=1",
    "pool.capacity=4",
    "pool.founding_waves=2",
    "pool.adaptations=0",
    "population.founders=4",
    "population.children=1",
    "scientist.max_refinements=1",
    "endpoints.scientist.attempts=2",
    "endpoints.scientist.backoff=0.01",
    "endpoints.scientist.longest_pause=0.05",
    "endpoints.scientist.timeout=2",
)


Mishap = Callable[[int, Body], Act | None]
