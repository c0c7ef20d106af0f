"""What an open viewer costs a run that goes on.

    python -m benchmarks.viewer_live [--pairs 3] [--set generations=1 ...] [--quick] [--json]

Shortened quickstarts in pairs, by themselves and with `acdc view` open in a headless Chromium,
which loads the overview anew whenever the run has changed; which of the two comes first changes
from pair to pair. Compared are the seconds of the clock, and those that the run itself computes.
Nothing else should run meanwhile.
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from benchmarks.viewer import viewing

SHORT = ["generations=1", "pool.capacity=8", "pool.founding_waves=2", "population.founders=4"]
QUICK = ["generations=0", "pool.capacity=4", "pool.founding_waves=1", "population.founders=4"]
SLOWER = 1.02
"""The most that a run may take beside a viewer, as a share of what it takes by itself."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="configuration of the runs")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one pair, founding")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("chromium") is None and shutil.which("chromium-browser") is None:
        raise SystemExit("there is no Chromium here: nothing was measured")
    settings = [*(QUICK if options.quick else SHORT), *options.set]
    report = measure(settings, 1 if options.quick else options.pairs)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(settings: list[str], pairs: int) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="acdc-viewed-") as scratch:
        for pair in range(pairs):
            row: dict[str, Any] = {"pair": pair}
            for viewed in (False, True) if pair % 2 == 0 else (True, False):
                name = "viewed" if viewed else "alone"
                row[name] = timed(Path(scratch) / f"{pair}-{name}", settings, viewed)
                show_progress(f"pair {pair}, {name}: {row[name]}")
            rows.append(row)
    ratios = {
        of: statistics.geometric_mean(row["viewed"][of] / row["alone"][of] for row in rows)
        for of in ("seconds", "cpu_seconds")
    }
    return {
        "bench": "viewer_live",
        "machine": describe_machine(),
        "settings": settings,
        "rows": rows,
        "goals": [
            {
                "name": f"{of.replace('_', ' ')} of a run beside an open viewer / by itself",
                "value": round(ratio, 4),
                "unit": "x",
                "goal": f"<= {SLOWER}",
                "met": ratio <= SLOWER,
            }
            for of, ratio in ratios.items()
        ],
    }


def timed(folder: Path, settings: list[str], viewed: bool) -> dict[str, float]:
    """Seconds of a run from its start, those that its processes computed, and pages loaded."""
    words = [word for each in settings for word in ("--set", each)]
    began = time.perf_counter()
    command = [sys.executable, "-m", "console", "run", str(folder), *words]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    loads = 0
    with ExitStack() as stack:
        if viewed:
            while not (folder / "run.db").exists() and run.poll() is None:
                time.sleep(0.1)
            count = stack.enter_context(opened(folder))
            while os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                loads = count()
        _, status, used = os.wait4(run.pid, 0)
        seconds = time.perf_counter() - began
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise SystemExit(f"the run in {folder} ended with exit code {run.returncode}")
    took = {"seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}
    return took | ({"loads": loads} if viewed else {})


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    """The overview in a browser; gives a function that waits a second and counts the loads."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with viewing(folder) as (url, _, _process), sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        replies = list[str]()
        page.on("response", lambda reply: replies.append(reply.url))
        overview = f"{url}runs/{folder.name}/"
        page.goto(overview)

        def count() -> int:
            page.wait_for_timeout(1_000)
            return sum(address == overview for address in replies)

        yield count
        browser.close()


def table(report: dict[str, Any]) -> str:
    lines = [heading(report), f"{'pair':>4} {'alone':>9} {'viewed':>9} {'CPU':>9} {'CPU':>9} loads"]
    lines += [
        f"{row['pair']:>4} {row['alone']['seconds']:>7.1f} s {row['viewed']['seconds']:>7.1f} s "
        f"{row['alone']['cpu_seconds']:>7.1f} s {row['viewed']['cpu_seconds']:>7.1f} s "
        f"{row['viewed']['loads']:>5}"
        for row in report["rows"]
    ]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
