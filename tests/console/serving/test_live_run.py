"""`acdc serve` of a run that another process goes on writing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.errors import StoreError
from memory.store import RunStore
from tests.console.conftest import Acdc
from tests.console.serving.served import Served, serving


def generation_of(folder: Path) -> int:
    """The latest generation that was selected, 0 before there is one."""
    try:
        with RunStore.open(folder, read_only=True) as store:
            latest = store.latest_archive()
    except StoreError:
        return 0
    return latest[0] if latest else 0


def wait_for(found: Callable[[], bool], alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not found():
        assert alive(), "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_live_run_is_served_as_it_was_while_it_goes_on(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    writer = acdc.fork("run", folder, "--config", tiny_config, "--set", "generations=1000")

    def alive() -> bool:
        return writer.poll() is None

    def answers(place: Served) -> dict[str, str | None]:
        """Of each expert; the collective's is that of one of them."""
        found = {}
        for model in ("acdc", *place.experts):
            reply = place.client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Name a river."}]
            )
            found[model] = reply.choices[0].message.content
        assert found.pop("acdc") in found.values()
        return found

    try:
        wait_for(lambda: generation_of(folder) >= 1, alive)
        with serving(acdc, folder) as place:
            begun = generation_of(folder)
            first = answers(place)
            assert len(first) == 3
            wait_for(lambda: generation_of(folder) >= begun + 2, alive)
            assert answers(place) == first
            assert [model.id for model in place.client.models.list()] == place.models
            # The writer is not held up, and may end while the server stands.
            writer.send_signal(signal.SIGINT)
            writer.communicate(timeout=300)
            assert writer.returncode == 130
            assert answers(place) == first
            place.process.send_signal(signal.SIGTERM)
            _, said = place.process.communicate(timeout=60)
            assert place.process.returncode == 0
            assert "is not finished" in said
    finally:
        writer.kill()
    status = acdc.json("status", folder)
    assert (status["finished"], status["generation"]) == (False, generation_of(folder))
    ended = generation_of(folder)
    assert ended >= begun + 2
    acdc("run", folder, "--set", f"generations={ended + 1}")
    assert acdc.json("status", folder)["finished"], "and the run goes on afterwards"
