"""What a run shows of its progress: plain lines on a pipe, a moving line in a terminal."""

from __future__ import annotations

import io
import logging
from typing import Literal

import pytest

from agents.progress import DraftProgress, ProgressEvent
from console.display import Display, Terminal, VisibleFormatter, left


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr("console.display.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def shown(events: list[tuple[float, ProgressEvent]], clock: Clock, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=terminal, width=100)
    with Display(console, "starting") as sink:
        for at, event in events:
            clock.now = 1000.0 + at
            sink(event)
    return out.getvalue()


def test_stages_that_cannot_be_counted_are_told_once_when_they_begin(clock: Clock) -> None:
    stages = ["founding: base and seeds"] * 2 + ["founding: transformers engine"]
    said = shown([(1.0, ProgressEvent("step", text)) for text in stages], clock)
    assert said.splitlines() == [
        "00:00 starting",
        "00:01 founding: base and seeds",
        "00:01 founding: transformers engine",
    ]


def test_counted_steps_are_told_now_and_then_with_the_time_that_is_left(clock: Clock) -> None:
    steps = [(5.0 * n, ProgressEvent("step", f"judge: e{n}", n, 20)) for n in range(1, 21)]
    lines = shown(steps, clock).splitlines()[1:]
    assert lines[0] == "00:05 judge: e1 1/20"
    assert "00:25 judge: e5 5/20, about 1 min 15 s left" in lines
    assert lines[-1] == "01:40 judge: e20 20/20"
    assert len(lines) == 11


def test_layers_of_a_merge_are_counted_with_the_time_that_is_left(clock: Clock) -> None:
    """Of one merge after the other, whatever they are called."""
    first = [(5.0 + n, ProgressEvent("step", "merging: regmean-g0", n, 30)) for n in range(31)]
    second = [(50.0 + 4 * n, ProgressEvent("step", "merging: graft-g2", n, 30)) for n in range(31)]
    lines = shown([*first, *second], clock).splitlines()
    assert "00:15 merging: regmean-g0 10/30, about 20 s left" in lines
    assert "00:35 merging: regmean-g0 30/30" in lines
    assert "01:38 merging: graft-g2 12/30, about 1 min 10 s left" in lines


def test_the_first_steps_of_many_promise_nothing(clock: Clock) -> None:
    steps = [(0.0, ProgressEvent("step", "draft: x", 0, 50))]
    steps.append((60.0, ProgressEvent("step", "draft: y", 2, 50)))
    assert "left" not in shown(steps, clock)
    steps.append((100.0, ProgressEvent("step", "draft: z", 25, 50)))
    assert "draft: z 25/50, about 1 min 40 s left" in shown(steps, clock)


def test_a_phase_that_begins_again_is_measured_anew(clock: Clock) -> None:
    steps = [(float(n), ProgressEvent("step", "judge: a", n, 10)) for n in range(11)]
    steps += [(500.0 + 20 * n, ProgressEvent("step", "judge: b", n, 10)) for n in range(1, 4)]
    assert "judge: b 3/10, about 2 min 20 s left" in shown(steps, clock)


def test_a_terminal_is_left_as_it_was(clock: Clock) -> None:
    said = shown([(1.0, ProgressEvent("step", "founding: base", 0, 0))], clock, terminal=True)
    assert "\x1b[?25l" in said, "the cursor is hidden while the line moves"
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.4, ""), (7.4, "about 7 s left"), (58.0, "about 1 min 0 s left")],
)
def test_remaining_times_are_round(seconds: float | None, words: str) -> None:
    assert left(seconds) == words


def test_drafts_tell_where_scientists_stand() -> None:
    told: list[ProgressEvent] = []
    drafts = DraftProgress(told.append)
    drafts.expect(1, 8)
    with drafts.at("in the gates"), drafts.at("in the gates"):
        assert told[-1] == ProgressEvent("step", "draft: 2 in the gates", 1, 8)
        with drafts.at("in the trial"):
            assert told[-1].text == "draft: 2 in the gates, 1 in the trial"
    drafts.finished("g0-a01 candidate", 2, 8)
    assert told[-1] == ProgressEvent("step", "draft: g0-a01 candidate", 2, 8)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("kind", ["step", "line", "pulse"])
def test_progress_shows_what_a_run_is_called_and_obeys_nothing(
    clock: Clock, terminal: bool, kind: Literal["step", "line", "pulse"]
) -> None:
    event = ProgressEvent(kind, "judge: g1\x1b[2J\x9b31m\u202e[blink]:bomb:[/red]")
    said = shown([(1.0, event)], clock, terminal)
    assert "\\x1b[2J" in said
    for obeyed in ("\x1b[2J", "\x9b", "\u202e", "\x1b[5m", "💣"):
        assert obeyed not in said


def test_a_log_line_is_spelled_too() -> None:
    record = logging.LogRecord("acdc", logging.WARNING, "", 0, "seed %s", ("a\x1b[2J",), None)
    assert VisibleFormatter().format(record) == "seed a\\x1b[2J"
