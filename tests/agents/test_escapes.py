"""The escape suite: hostile families and submissions, over every sandbox that isolates."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agents.sandbox import Sandbox, open_sandbox
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.settings import SandboxSettings
from tests.agents.escapes.case import Escape
from tests.agents.escapes.runner import ESCAPES, Decoys, decoys, escaped

SETTINGS = SandboxSettings(seconds=5, memory_mb=512, guests=2, preimport=())
NO_BUBBLEWRAP = bubblewrap_command(SETTINGS)[1]
ISOLATED = [
    pytest.param("bubblewrap", marks=pytest.mark.skipif(bool(NO_BUBBLEWRAP), reason=NO_BUBBLEWRAP))
]


@pytest.fixture(scope="module")
def on_the_host() -> Iterator[Decoys]:
    with decoys() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ISOLATED)
async def sandboxes(request: pytest.FixtureRequest) -> AsyncIterator[dict[bool, Sandbox]]:
    """The same guests for all cases, under a short and under a longer time limit."""
    opened = {
        brief: open_sandbox(SETTINGS.model_copy(update={"kind": request.param, "seconds": seconds}))
        for brief, seconds in ((True, 1.0), (False, SETTINGS.seconds))
    }
    yield opened
    for sandbox in opened.values():
        await sandbox.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
async def test_nothing_escapes(
    sandboxes: dict[bool, Sandbox], escape: Escape, on_the_host: Decoys
) -> None:
    assert await escaped(sandboxes[escape.brief], escape, on_the_host) == ""


def test_there_are_enough_of_them_and_each_has_its_name() -> None:
    assert len({escape.name for escape in ESCAPES}) == len(ESCAPES) >= 40


async def test_hostile_code_is_not_run_without_isolation(on_the_host: Decoys) -> None:
    plain = open_sandbox(SETTINGS.model_copy(update={"kind": "process"}), trusted=True)
    with pytest.raises(ValueError, match="under isolation only"):
        await escaped(plain, ESCAPES[0], on_the_host)
