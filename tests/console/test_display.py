"""What a run shows of its progress: plain lines on a pipe, a moving line in a terminal."""

from __future__ import annotations

import io
import logging
import threading
from typing import Literal

import pytest

from agents.progress import DraftProgress, ProgressEvent
from console.display import Display, Terminal, VisibleFormatter
from console.live import Screen, about


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
    assert "00:25 judge: e5 5/20, about 1 min 15 s left of this step" in lines
    assert lines[-1] == "01:40 judge: e20 20/20"
    assert len(lines) == 11


def test_layers_of_a_merge_are_counted_with_the_time_that_is_left(clock: Clock) -> None:
    """Of one merge after the other, whatever they are called."""
    first = [(5.0 + n, ProgressEvent("step", "merging: regmean-g0", n, 30)) for n in range(31)]
    second = [(50.0 + 4 * n, ProgressEvent("step", "merging: graft-g2", n, 30)) for n in range(31)]
    lines = shown([*first, *second], clock).splitlines()
    assert "00:15 merging: regmean-g0 10/30, about 20 s left of this step" in lines
    assert "00:35 merging: regmean-g0 30/30" in lines
    assert "01:38 merging: graft-g2 12/30, about 1 min 10 s left of this step" in lines


def test_the_first_steps_of_many_promise_nothing(clock: Clock) -> None:
    steps = [(0.0, ProgressEvent("step", "draft: x", 0, 50))]
    steps.append((60.0, ProgressEvent("step", "draft: y", 2, 50)))
    assert "left" not in shown(steps, clock)
    steps.append((100.0, ProgressEvent("step", "draft: z", 25, 50)))
    assert "draft: z 25/50, about 1 min 40 s left of this step" in shown(steps, clock)


def test_a_phase_that_begins_again_is_measured_anew(clock: Clock) -> None:
    steps = [(float(n), ProgressEvent("step", "judge: a", n, 10)) for n in range(11)]
    steps += [(500.0 + 20 * n, ProgressEvent("step", "judge: b", n, 10)) for n in range(1, 4)]
    assert "judge: b 3/10, about 2 min 20 s left of this step" in shown(steps, clock)


def test_a_terminal_is_left_as_it_was(clock: Clock) -> None:
    said = shown([(1.0, ProgressEvent("step", "founding: base", 0, 0))], clock, terminal=True)
    assert "\x1b[?25l" in said, "the cursor is hidden while the line moves"
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.4, ""),
        (7.4, "about 7 s"),
        (58.0, "about 1 min 0 s"),
        (4000.0, "about 1 h 6 min"),
    ],
)
def test_remaining_times_are_round(seconds: float | None, words: str) -> None:
    assert about(seconds) == words


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


def screen_of(events: list[tuple[float, ProgressEvent]], clock: Clock, width: int = 80) -> str:
    """The lines at the foot of the terminal after these events, one second after the last."""
    screen = Screen("runs/mine", lambda: "scientist 3 calls, 12k tokens, 0.05 USD")
    for at, event in events:
        clock.now = 1000.0 + at
        screen.note(event)
    clock.now += 1.0
    out = io.StringIO()
    Terminal(file=out, width=width, height=24).print(screen)
    return out.getvalue()


EVENTS = [
    (1.0, ProgressEvent("step", "draft: 2 in the gates", 1, 8)),
    (2.0, ProgressEvent("accepted", "Alice's circle")),
    (3.0, ProgressEvent("rejected", "Sums: duplicate: similarity 0.99 to Sums of two")),
    (10.0, ProgressEvent("pulse", "generation 0/4: best a 0.5", 0, 4, {"archive/coverage": 0.25})),
    (20.0, ProgressEvent("pulse", "generation 1/4: best b 0.6", 1, 4, {"archive/coverage": 0.75})),
    (21.0, ProgressEvent("step", "judge: g1-0", 2, 8)),
    (25.0, ProgressEvent("step", "judge: g1-1", 4, 8)),
]


@pytest.mark.parametrize("width", [80, 200])
def test_a_screen_shows_phases_pulse_families_and_costs(clock: Clock, width: int) -> None:
    lines = screen_of(EVENTS, clock, width).splitlines()
    assert lines[0].split("  ")[1:] == [
        "00:26",
        "generation 1 of 4 complete",
        "about 50 s left in all",
    ]
    assert "judge: g1-1" in lines[1]
    assert "4/8" in lines[1]
    assert "step: about 8 s" in lines[1]
    assert lines[2] == "archive  ▃▇ best b 0.6"
    assert lines[3] == "✓ 1 accepted, the last: Alice's circle"
    assert lines[4] == "✗ 1 rejected, the last: Sums: duplicate: similarity 0.99 to Sums of two"
    assert lines[5] == "scientist 3 calls, 12k tokens, 0.05 USD"
    assert max(map(len, lines)) <= width


def test_the_head_line_says_from_the_beginning_where_the_whole_run_stands(clock: Clock) -> None:
    screen = Screen("runs/mine", expected=600.0)
    screen.note(ProgressEvent("phase", "opening", 0, 4))
    screen.note(ProgressEvent("phase", "draft"))
    screen.note(ProgressEvent("step", "draft: x", 1, 8))
    clock.now += 60.0

    def head() -> list[str]:
        out = io.StringIO()
        Terminal(file=out, width=80).print(screen)
        return out.getvalue().splitlines()[0].split("  ")[1:]

    assert head() == ["01:00", "in generation 0 of 4", "about 9 min 0 s left in all"]
    screen.note(ProgressEvent("phase", "judge", 1, 4))
    clock.now += 600.0
    assert head() == ["11:00", "in generation 1 of 4"], "an estimate too short says nothing"


def test_long_lines_are_cut_where_the_terminal_ends(clock: Clock) -> None:
    long = [(1.0, ProgressEvent("rejected", "word " * 60))]
    long.append((2.0, ProgressEvent("step", "judge: " + "x" * 200, 1, 9)))
    lines = screen_of(long, clock).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_what_nobody_has_heard_of_for_long_is_not_shown(clock: Clock) -> None:
    begun = [(1.0, ProgressEvent("step", "loading: base", 0, 0))]
    assert "loading: base" in screen_of([*begun, (2.0, EVENTS[0][1])], clock)
    later = screen_of([*begun, (60.0, EVENTS[0][1])], clock)
    assert "loading" not in later
    assert "draft: 2 in the gates" in later


def waiting(at: float, what: str, seconds: int) -> tuple[float, ProgressEvent]:
    return at, ProgressEvent("waiting", what, seconds)


def test_long_waits_are_told_now_and_then_and_when_they_end(clock: Clock) -> None:
    events = [waiting(60.0 + s, "sandbox: score", 60 + s) for s in range(0, 100, 5)]
    events += [waiting(160.0, "swap", 60), waiting(165.0, "sandbox: score", 0)]
    events += [waiting(170.0, "swap", 0)]
    assert shown(events, clock).splitlines() == [
        "00:00 starting",
        "01:00 waiting for sandbox: score, 60 s",
        "02:00 waiting for sandbox: score, 120 s",
        "02:50 no longer waiting for swap",
    ]


def test_a_screen_shows_the_longest_wait_until_it_ends(clock: Clock) -> None:
    events = [waiting(60.0, "sandbox: score", 75), waiting(60.0, "swap", 61)]
    assert "waiting for sandbox: score, 75 s, and 1 more" in screen_of(events, clock)
    events += [waiting(70.0, "sandbox: score", 0)]
    assert "waiting for swap, 61 s" in screen_of(events, clock)
    events += [waiting(75.0, "swap", 0)]
    assert "waiting" not in screen_of(events, clock)


def test_quiet_says_nothing(clock: Clock) -> None:
    out = io.StringIO()
    with Display(Terminal(file=out, force_terminal=True), "starting", quiet=True) as sink:
        for _, event in EVENTS:
            sink(event)
    assert out.getvalue() == ""


def test_a_long_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.display.PLAIN_EVERY_S", 0.01)
    monkeypatch.setattr("console.display.SILENCE_S", 0.03)
    out = io.StringIO()
    told = threading.Event()

    class Telling(io.StringIO):
        def write(self, text: str) -> int:
            if "still under way" in text:
                told.set()
            return out.write(text)

    with Display(Terminal(file=Telling(), width=100)) as sink:
        sink(ProgressEvent("step", "finals: words", 1, 9))
        assert told.wait(30)
    assert "finals: words 1/9" in out.getvalue()


def test_families_are_told_a_line_each_without_a_terminal(clock: Clock) -> None:
    said = shown(EVENTS[1:3], clock)
    assert "00:02 accepted Alice's circle" in said
    assert "00:03 rejected Sums: duplicate" in said
