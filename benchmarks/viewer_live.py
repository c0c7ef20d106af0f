"""What an open viewer costs a run that goes on.

    python -m benchmarks.viewer_live RUN [--minutes 5] [--page PAGE] [--json]
    python -m benchmarks.viewer_live --pairs 3 [--set generations=1 ...] [--json]
    python -m benchmarks.viewer_live --quick

Beside RUN, which another process computes meanwhile: `acdc view` with its overview open in a
headless Chromium, which loads it anew whenever the run has changed. Compared are the seconds of
processors that server and browser use, and those of the run with all that it has started: what a
viewer takes from a run that leaves no processor idle. The browser is often on another machine.

With `--pairs`, whole shortened quickstarts: by themselves and viewed, in turns. Compared are the
seconds of the clock as well; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from benchmarks.tiny import tiny_run
from benchmarks.viewer import viewing
from memory.store.lock import LOCK

SHORT = ["generations=1", "pool.capacity=8", "pool.founding_waves=2", "population.founders=4"]
SLOWER = 0.02
"""The most that a viewer may take, as a share of what a run takes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of a run that goes on")
    parser.add_argument("--minutes", type=float, default=5.0, help="of looking at it")
    parser.add_argument("--page", default="", help="that is open, as in its URL; the overview")
    parser.add_argument("--pairs", type=int, help="runs of the benchmark's own, in pairs")
    parser.add_argument("--set", action="append", default=[], help="configuration of these runs")
    parser.add_argument("--quick", action="store_true", help="a smoke test: a tiny finished run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if sum((options.folder is not None, options.pairs is not None, options.quick)) != 1:
        parser.error("give one of: the folder of a run that goes on, --pairs, --quick")
    if _chromium() is None:
        raise SystemExit("there is no Chromium here: nothing was measured")
    if options.pairs:
        report = in_pairs([*SHORT, *options.set], options.pairs)
    elif options.quick:
        with tempfile.TemporaryDirectory(prefix="acdc-viewed-") as place:
            report = beside(tiny_run(Path(place)), os.getpid(), 2.0, options.page)
    else:
        report = beside(options.folder, holder(options.folder), 60 * options.minutes, options.page)
    report = {"bench": "viewer_live", "machine": describe_machine()} | report
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def holder(folder: Path) -> int:
    """The process that computes a run.

    Raises:
        SystemExit: none does.
    """
    try:
        pid = int((folder / LOCK).read_text())
    except (OSError, ValueError):
        pid = -1
    if not psutil.pid_exists(pid):
        raise SystemExit(f"{folder}: no process computes this run")
    return pid


def beside(folder: Path, pid: int, seconds: float, page: str) -> dict[str, Any]:
    """Look at a page of a run for some time."""
    with looking(folder, page) as look:
        run, began = psutil.Process(pid), time.perf_counter()
        before, viewer = computed(run), look.computed()
        while (passed := time.perf_counter() - began) < seconds and run.is_running():
            look.wait()
        taken = {of: used - viewer[of] for of, used in look.computed().items()}
        row = {"seconds": passed, "run": computed(run) - before, **taken, "loads": look.loads()}
    share = row["server"] / max(row["run"], 1e-9)
    goal = _goal("processor of the viewer's server / of the run", share, SLOWER)
    return {"rows": [{name: round(value, 2) for name, value in row.items()}], "goals": [goal]}


def in_pairs(settings: list[str], pairs: int) -> dict[str, Any]:
    """Whole runs by themselves and viewed; which comes first changes from pair to pair."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="acdc-viewed-") as scratch:
        for pair in range(pairs):
            row: dict[str, Any] = {"pair": pair}
            for viewed in (False, True) if pair % 2 == 0 else (True, False):
                name = "viewed" if viewed else "alone"
                row |= timed(Path(scratch) / f"{pair}-{name}", settings, viewed)
                show_progress(f"pair {pair}, {name}: {row}")
            rows.append(row)
    ratios = {
        of: statistics.geometric_mean(row[f"viewed {of}"] / row[f"alone {of}"] for row in rows)
        for of in ("seconds", "processor")
    }
    return {
        "settings": settings,
        "rows": rows,
        "goals": [
            _goal(f"{of} of a run beside an open viewer / by itself", ratio, 1 + SLOWER)
            for of, ratio in ratios.items()
        ],
    }


def timed(folder: Path, settings: list[str], viewed: bool) -> dict[str, float]:
    """Seconds of a run from its start, and those that its processes computed."""
    words = [word for each in settings for word in ("--set", each)]
    began = time.perf_counter()
    command = [sys.executable, "-m", "console", "run", str(folder), *words]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    loads = 0
    with ExitStack() as stack:
        if viewed:
            while not (folder / "run.db").exists() and run.poll() is None:
                time.sleep(0.1)
            look = stack.enter_context(looking(folder))
            while os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                look.wait()
            loads = look.loads()
        _, status, used = os.wait4(run.pid, 0)
        seconds = time.perf_counter() - began
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise SystemExit(f"the run in {folder} ended with exit code {run.returncode}")
    name = "viewed" if viewed else "alone"
    processor = used.ru_utime + used.ru_stime
    taken = {f"{name} seconds": round(seconds, 2), f"{name} processor": round(processor, 2)}
    return taken | ({"loads": loads} if viewed else {})


@dataclass(frozen=True)
class Look:
    """A page that is open in a browser.

    Attributes:
        wait: lets a second pass.
        loads: how often the page was loaded.
        computed: seconds of processors so far, of `server` and `browser`.
    """

    wait: Callable[[], None]
    loads: Callable[[], int]
    computed: Callable[[], dict[str, float]]


@contextmanager
def looking(folder: Path, page: str = "") -> Iterator[Look]:
    """`acdc view` on a run, with a page of it in a browser."""
    from playwright.sync_api import sync_playwright

    with viewing(folder) as (url, _, process), sync_playwright() as started:
        own = psutil.Process()
        others = {each.pid for each in own.children(recursive=True)}
        browser = started.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        browsers = [each for each in own.children(recursive=True) if each.pid not in others]
        tab, replies = browser.new_page(), list[str]()
        tab.on("response", lambda reply: replies.append(reply.url))
        opened = f"{url}runs/{folder.name}/{page}"
        tab.goto(opened)
        server = psutil.Process(process.pid)
        yield Look(
            lambda: tab.wait_for_timeout(1_000),
            lambda: replies.count(opened),
            lambda: {"server": computed(server), "browser": sum(map(computed, browsers[:1]))},
        )
        browser.close()


def computed(process: psutil.Process) -> float:
    """Seconds of processors that a process and what it has started have used."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if each == process:  # of those of its children that have ended
            total += times.children_user + times.children_system
    return total


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _goal(name: str, value: float, limit: float) -> dict[str, Any]:
    met = value <= limit
    return {"name": name, "value": round(value, 4), "unit": "x", "goal": f"<= {limit}", "met": met}


def table(report: dict[str, Any]) -> str:
    names = list(report["rows"][0])
    lines = [heading(report), "  ".join(names)]
    lines += ["  ".join(f"{row[name]:>{len(name)}}" for name in names) for row in report["rows"]]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
