"""The escape suite: hostile families and submissions, over every sandbox that isolates."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from agents.sandbox import Sandbox, open_sandbox
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.sandbox.docker import docker_start
from agents.settings import SandboxSettings
from tests.agents.sandbox.escapes.case import Escape
from tests.agents.sandbox.escapes.runner import ESCAPES, Decoys, decoys, escaped
from tests.conftest import anything

SETTINGS = SandboxSettings(
    seconds=5,
    memory_mb=512,
    guests=2,
    preimport=(),
    docker_image=os.environ.get("DOCKER_TEST_IMAGE", "python:3.12-slim"),
)
NO_BUBBLEWRAP = bubblewrap_command(SETTINGS)[1]
NO_DOCKER = docker_start(SETTINGS)[1]
ISOLATED = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(reason), reason=reason))
    for kind, reason in (("bubblewrap", NO_BUBBLEWRAP), ("docker", NO_DOCKER))
]


@pytest.fixture(scope="module")
def on_the_host() -> Iterator[Decoys]:
    with decoys() as found:
        yield found


class Opened(NamedTuple):
    """The guests of one kind, the same for all cases."""

    kind: str
    brief: Sandbox
    patient: Sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ISOLATED)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    settings = SETTINGS.model_copy(update={"kind": request.param})
    brief, patient = (
        open_sandbox(settings.model_copy(update={"seconds": 1.0})),
        open_sandbox(settings),
    )
    yield Opened(request.param, brief, patient)
    await brief.close()
    await patient.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
async def test_nothing_escapes(opened: Opened, escape: Escape, on_the_host: Decoys) -> None:
    if opened.kind in escape.shown_by:
        pytest.skip(f"{opened.kind} shows its own")
    sandbox = opened.brief if escape.brief else opened.patient
    assert await escaped(sandbox, escape, on_the_host) == ""


def test_there_are_enough_of_them_and_each_has_its_name() -> None:
    assert len({escape.name for escape in ESCAPES}) == len(ESCAPES) >= 40


async def test_hostile_code_is_not_run_without_isolation(on_the_host: Decoys) -> None:
    plain = open_sandbox(SETTINGS.model_copy(update={"kind": "process"}), ours=anything)
    with pytest.raises(ValueError, match="under isolation only"):
        await escaped(plain, ESCAPES[0], on_the_host)
