"""Signals to a whole run at random moments, each followed by the same command."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.faults_lab import ENDING_SECONDS, Difference, Lab, descendants, difference
from tests.console.forked import Forked
from tests.console.moments import last_step, steps_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS_OF_A_RUN = 25
"""At most: then it goes on to its end, and another one begins."""
_WINDOW = 0.15
"""Share of the undisturbed run's duration within which a moment in time falls after a start."""
_ENDS = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {-signal.SIGTERM, 130},
    signal.SIGINT: {-signal.SIGINT, 130},
}
"""Exit codes; a signal may come before the command has begun to handle it."""

Moment = Literal["time", "step"]


@dataclass(frozen=True)
class Kill:
    """A signal that ended a run, or was to end it.

    Attributes:
        signal: its name.
        moment: whether it fell at a time, or right after a step was committed.
        phase: the last step that the run had committed, without its number.
        left: processes of the run that were still there a minute later.
        strange: what the run said where it ended as no run should, before the signal or by it; ""
            if it did not.
    """

    signal: str
    moment: Moment
    phase: str
    left: int = 0
    strange: str = ""


@dataclass
class KilledRun:
    """A run that was killed and went on, several times.

    Attributes:
        folder: of the run; it is removed where nothing differs.
        kills: in their order.
        difference: from the undisturbed run.
    """

    folder: Path
    kills: list[Kill] = field(default_factory=list)
    difference: Difference | None = None


def killed_runs(lab: Lab, kills: int, seed: int) -> Iterator[KilledRun]:
    """Runs that end by so many signals in all, one run after the other."""
    draw = random.Random(seed)
    kinds = _dealt(draw)
    done = number = 0
    while done < kills:
        number += 1
        run = KilledRun(lab.place / f"killed-{number}")
        while len(run.kills) < min(KILLS_OF_A_RUN, kills - done):
            kill = _killed(lab, run.folder, *next(kinds), draw)
            if kill is None:  # it was finished before that moment
                break
            run.kills.append(kill)
        lab.finish(run.folder)
        run.difference = difference(run.folder, lab.whole)
        done += len(run.kills)
        if not run.difference:
            shutil.rmtree(run.folder)
        yield run


def _dealt(draw: random.Random) -> Iterator[tuple[signal.Signals, Moment]]:
    """Every signal at every kind of moment, equally often, in a random order."""
    moments: tuple[Moment, ...] = ("time", "step")
    while True:
        every = [(each, moment) for each in SIGNALS for moment in moments]
        draw.shuffle(every)
        yield from every


def _killed(
    lab: Lab, folder: Path, number: signal.Signals, moment: Moment, draw: random.Random
) -> Kill | None:
    """Go on with a run, and end it at a moment; None if it had finished by itself."""
    has_come = _moment(lab, folder, moment, draw)
    process, started = lab.start(folder), list[psutil.Process]()
    while not has_come() and process.poll() is None:
        time.sleep(0.002)
    phase = (last_step(folder) or "nothing yet").rstrip("-0123456789")
    if process.poll() is None:
        started = descendants(process)
        process.send_signal(number)
    return _ended(process, number, moment, phase, started)


def _moment(lab: Lab, folder: Path, moment: Moment, draw: random.Random) -> Callable[[], bool]:
    if moment == "time":
        at = time.monotonic() + draw.uniform(0.0, _WINDOW * lab.seconds)
        return lambda: time.monotonic() >= at
    wanted = steps_of(folder) + draw.randint(1, 3)
    return lambda: steps_of(folder) >= wanted


def _ended(
    process: Forked,
    number: signal.Signals,
    moment: Moment,
    phase: str,
    started: list[psutil.Process],
) -> Kill | None:
    try:
        _, said = process.communicate(timeout=ENDING_SECONDS)
    except TimeoutError:
        process.kill()
        process.communicate()
        return Kill(number.name, moment, phase, strange=f"did not end in {ENDING_SECONDS:g} s")
    code = process.returncode
    if code == 0:  # it was finished before, or past its last line
        return None
    strange = "" if code in _ENDS[number] else f"exit code {code}: {said.strip()[-500:]}"
    _, left = psutil.wait_procs(started, 60)
    return Kill(number.name, moment, phase, len(left), strange)
