"""How long `acdc view` takes to start, and each page at the server and in a browser.

    python -m benchmarks.viewer [--families 2000] [--experts 500] [--pool 100] [--run DIR]
                                [--quick] [--json]

On a run of made-up families, experts and answers (500 experts x 100 families x 4 instances are
200,000 answers), in a real run.db. A page's first time at the server, the median of three more,
and the processor time of one;
in Chromium, if it is installed, the median of three times until everything is loaded.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from benchmarks.viewer_run import Size, make_run
from console.view.report import as_html, parts_of
from console.view.site import PAGES
from memory.store import RunStore

START_S, SERVER_S, BROWSER_S = 2.0, 0.3, 1.0
LARGEST, LARGEST_REPORT = 1_000_000, 5 * 2**20
REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--families", type=int, default=2000)
    parser.add_argument("--experts", type=int, default=500)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--run", type=Path, help="where the run is kept, or lies already")
    parser.add_argument("--quick", action="store_true", help="a smoke test: a tiny run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    size = Size(40, 24, 10) if options.quick else Size(**_size_of(options))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.run or Path(scratch) / "made-up"
        if not folder.exists():
            show_progress(f"making a run of {size.answers:,} answers")
            make_run(folder, size)
        report = measure(folder, size)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def _size_of(options: argparse.Namespace) -> dict[str, int]:
    return {"families": options.families, "experts": options.experts, "pool": options.pool}


def measure(folder: Path, size: Size) -> dict[str, Any]:
    paths = [*PAGES, *inner_pages(folder)]
    starts, torch = [], False
    for _ in range(REPEATS):
        with viewing(folder) as (_, seconds, process):
            starts.append(seconds)
            torch = torch or loads_torch(process.pid)
    show_progress("pages at the server")
    with viewing(folder) as (url, _, process):
        base = f"{url}runs/{folder.name}/"
        with httpx.Client(timeout=120) as client:
            rows = [_served(client, process.pid, base, path) for path in paths]
        show_progress("pages in the browser")
        for row, loaded in zip(rows, _in_browser(base, paths), strict=True):
            row["browser"] = loaded
    show_progress("report")
    begun = time.perf_counter()
    written = len(as_html(folder.name, parts_of(folder)).encode())
    seconds = time.perf_counter() - begun
    return {
        "bench": "viewer",
        "machine": describe_machine(),
        "run": {"families": size.families, "experts": size.experts, "answers": size.answers},
        "rows": rows,
        "report": {"bytes": written, "seconds": round(seconds, 3)},
        "goals": goals(rows, statistics.median(starts), torch, written),
    }


def goals(
    rows: list[dict[str, Any]], start: float, torch: bool, written: int
) -> list[dict[str, Any]]:
    def goal(name: str, value: float, unit: str, limit: float) -> dict[str, Any]:
        met = value <= limit
        return {"name": name, "value": value, "unit": unit, "goal": f"<= {limit:g}", "met": met}

    browser = [row["browser"] for row in rows if row["browser"] is not None]
    return [
        goal("start", round(start, 3), "s", START_S),
        goal("torch is loaded", int(torch), "1", 0),
        goal("slowest page at the server", max(row["server"] for row in rows), "s", SERVER_S),
        goal("slowest first time at the server", max(row["first"] for row in rows), "s", SERVER_S),
        *([goal("slowest page in the browser", max(browser), "s", BROWSER_S)] if browser else []),
        goal("largest page", max(row["bytes"] for row in rows), "bytes", LARGEST),
        goal("report", written, "bytes", LARGEST_REPORT),
    ]


def inner_pages(folder: Path) -> list[str]:
    """Pages of one thing: the newest family, expert and call, and the widest views."""
    with RunStore.open(folder, read_only=True) as store:
        family = store.select("SELECT id FROM families ORDER BY seq DESC LIMIT 1")[0]["id"]
        found = store.select("SELECT id FROM experts ORDER BY generation DESC, birth DESC LIMIT 1")
        call = store.select("SELECT key FROM calls ORDER BY seq DESC LIMIT 1")[0]["key"]
    expert = found[0]["id"]
    return [
        f"tasks/{family}",
        f"experts/{expert}",
        f"answers?family={family}",
        f"answers?expert={expert}",
        "answers?show=named",
        "answers?show=unmarked&among=archive",
        "compare?a=task+force+of+3&b=task+force+of+8",
        f"agents/{call}",
        "skills?experts=all&families=all&order=rate",
        "lineage?show=all",
        "tasks?q=counting&status=retired&sort.families=-rate",
        "?format=json",
    ]


@contextmanager
def viewing(folder: Path) -> Iterator[tuple[str, float, subprocess.Popen[str]]]:
    """`acdc view` until the end of the block: its URL, and how long it took to start."""
    begun = time.perf_counter()
    words = [sys.executable, "-m", "console", "view", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield url, time.perf_counter() - begun, process
    finally:
        process.terminate()
        process.wait()


def loads_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def _served(client: httpx.Client, pid: int, base: str, path: str) -> dict[str, Any]:
    times, size, before = [], 0, processor_seconds(pid)
    for _ in range(1 + REPEATS):
        begun = time.perf_counter()
        reply = client.get(base + path)
        times.append(time.perf_counter() - begun)
        reply.raise_for_status()
        size = len(reply.content)
    return {
        "page": path or "overview",
        "first": round(times[0], 3),
        "server": round(statistics.median(times[1:]), 3),
        "cpu": round((processor_seconds(pid) - before) / (1 + REPEATS), 3),
        "bytes": size,
    }


def processor_seconds(pid: int) -> float:
    """What a process has used, which says more than the clock where others are at work."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _in_browser(base: str, paths: list[str]) -> list[float | None]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return [None] * len(paths)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return [None] * len(paths)
    loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
    found: list[float | None] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        for path in paths:
            if "format=" in path:
                found.append(None)
                continue
            times = []
            for _ in range(REPEATS):
                page.goto(base + path)
                times.append(float(page.evaluate(loaded)))
            found.append(round(statistics.median(times), 3))
        browser.close()
    return found


def table(report: dict[str, Any]) -> str:
    run = report["run"]
    lines = [heading(report)]
    lines.append(
        f"{run['families']:,} families, {run['experts']:,} experts, {run['answers']:,} answers"
    )
    lines.append(f"{'page':52}{'first':>8}{'server':>8}{'cpu':>8}{'browser':>9}{'KiB':>7}")
    for row in report["rows"]:
        browser = "" if row["browser"] is None else f"{row['browser']:.3f}"
        lines.append(
            f"{row['page'][:50]:52}{row['first']:8.3f}{row['server']:8.3f}{row['cpu']:8.3f}{browser:>9}"
            f"{row['bytes'] / 1024:7.0f}"
        )
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
