"""What a run waits for is said, once there was silence for long enough."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.progress import ProgressEvent
from console.run.watchdog import Watchdog, described
from memory.spans import Pending, span, tracing
from memory.store import RunStore


async def test_a_silence_is_explained_at_growing_intervals_until_something_is_heard(
    tmp_path: Path,
) -> None:
    said: list[ProgressEvent] = []
    watchdog = Watchdog(said.append, patience=0.1)
    with RunStore.open(tmp_path / "run") as store:
        with tracing(store.path):
            async with watchdog.on_duty():
                with span("llm", "propose", model="qwen"):
                    await asyncio.sleep(1.0)
                    watchdog(ProgressEvent("line", "something"))
                silent = len(said)
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.3)
        [waited] = store.spans("llm")
    *waits, last = said[:silent]
    assert last.text == "something"
    assert 1 <= len(waits) <= 4, "at 0.1, 0.2, 0.4 and 0.8 s at most"
    assert all(event.text.startswith("waiting: llm propose (qwen); for ") for event in waits)
    assert len(said) == silent, "nothing is under way any more"
    assert "acdc.overdue_s" in waited.attributes


async def test_work_of_which_something_is_heard_is_not_reported(tmp_path: Path) -> None:
    said: list[ProgressEvent] = []
    watchdog = Watchdog(said.append, patience=30.0)
    with RunStore.open(tmp_path / "run") as store, tracing(store.path):
        async with watchdog.on_duty():
            with span("answer", "answer", genome="g"):
                await asyncio.sleep(0.05)
    assert said == []


def test_many_waits_fit_one_line() -> None:
    found = [Pending("llm propose (qwen)", 75.0)] * 3
    found += [Pending(f"gate {name}", 61.0) for name in ("a", "b", "c")]
    assert described(found) == (
        "3 x llm propose (qwen), gate a, gate b and 1 more; the longest for 75 s"
    )
    assert described([Pending("merge graft-g2", 90.4)]) == "merge graft-g2; for 90 s"
