"""What is waited for: open spans without a child, from when the last child ended."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.records import LongWait
from memory.spans import span, tracing
from memory.store import RunStore
from memory.waits import Wait, Waits, under_way, watched


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr("memory.waits.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_innermost_span_is_waited_for_and_then_the_one_around_it(
    store: RunStore, folder: Path, clock: Clock
) -> None:
    with tracing(folder, secrets=["sk-hidden"]) as waits:
        with span("phase", "judge"):
            clock.now += 10
            with span("llm", "rate", role="rater", assignment="sk-hidden", model="m"):
                clock.now += 75
                assert [str(wait) for wait in waits.now(60)] == [
                    "model call rate (rater, [concealed]), 75 s"
                ]
                assert waits.now(80) == []
                assert waits.now()[0] in under_way()
            clock.now += 5
            assert [str(wait) for wait in waits.now()] == ["phase judge, 5 s"]
        assert waits.now() == []


def test_whoever_waits_for_an_expert_reads_its_name_and_no_hash(
    store: RunStore, folder: Path
) -> None:
    genome = "47a1d17a" * 4
    with tracing(folder) as waits, span("step", "examine", expert="g1-3"):
        with span("answer", "answer", model=genome, genome=genome):
            assert [wait.what for wait in waits.now()] == ["answers of an expert (g1-3)"]
            with span("swap", genome):
                assert [wait.what for wait in waits.now()] == ["weights of an expert (g1-3)"]
        with span("grade", "score", code_hash=genome), span("llm", "rate", role="rater"):
            assert [wait.what for wait in waits.now()] == ["model call rate (rater, g1-3)"]
        assert [wait.what for wait in waits.now()] == ["step examine (g1-3)"]


def test_a_span_within_one_that_is_over_is_waited_for_all_the_same() -> None:
    waits = Waits()
    waits.begin("a", "outer", None)
    waits.begin("b", "inner", "a")
    waits.end("a")
    assert [wait.what for wait in waits.now()] == ["inner"]
    waits.end("b")
    assert waits.now() == []


@given(st.data(), st.integers(0, 12))
def test_whatever_begins_and_ends_no_wait_is_left_over(data: st.DataObject, size: int) -> None:
    waits, within = Waits(), dict[int, int | None]()
    for number in range(size):
        within[number] = data.draw(st.sampled_from([None, *range(number)]))
        around = within[number]
        waits.begin(str(number), "work", None if around is None else str(around))
    innermost = {str(number) for number in within if number not in within.values()}
    assert {wait.span for wait in waits.now()} == innermost
    for number in data.draw(st.permutations(range(size))):
        waits.end(str(number))
    assert waits.now() == []


def test_a_long_wait_is_reported_until_it_ends() -> None:
    waits, told = Waits(), list[tuple[list[str], list[str]]]()
    begun, ended = threading.Event(), threading.Event()

    def report(found: Sequence[Wait], over: Sequence[Wait]) -> None:
        told.append(([wait.what for wait in found], [wait.what for wait in over]))
        (begun if found else ended).set()

    with watched(waits, report, long=0.0, every=0.01):
        waits.begin("a", "a lock", None)
        assert begun.wait(30)
        waits.end("a")
        assert ended.wait(30)
    assert told[-1] == ([], ["a lock"])
    assert all(each == (["a lock"], []) for each in told[:-1])


def test_what_still_lasts_at_the_end_is_cleared_and_the_watchdog_gone() -> None:
    waits, told = Waits(), list[tuple[int, int]]()
    begun = threading.Event()

    def report(found: Sequence[Wait], over: Sequence[Wait]) -> None:
        told.append((len(found), len(over)))
        begun.set()

    waits.begin("a", "a lock", None)
    with watched(waits, report, long=0.0, every=0.01):
        assert begun.wait(30)
    assert told[-1] == (0, 1)
    assert "acdc-waits" not in {thread.name for thread in threading.enumerate()}


def test_a_long_wait_is_an_event_of_the_run(store: RunStore) -> None:
    store.add_event(LongWait(span="0f", what="sandbox: score", seconds=61.0))
    [event] = store.events("waiting")
    assert event.payload == {"span": "0f", "what": "sandbox: score", "seconds": 61.0}
