"""How long a novelty check takes when many families are remembered, and what memory that costs.

    python -m benchmarks.novelty [--families 10000] [--checks 300] [--quick] [--json]

Each size is filled with families at random places on the sphere of the embeddings (a real Chroma,
in a temporary folder, and again behind a real Chroma server); then new families are checked against
it and inserted, as admission does, and timed one by one. Rows keep the steps apart: the query, the
insertion (now and then one stores all that wait), both together, and what the built-in embedder
takes for a family, which is measured by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines
from memory.novelty.embedding import Vectors, minilm
from memory.novelty.memory import NoveltyMemory
from memory.novelty.similarity import Vector
from memory.records import Family
from memory.settings import NoveltySettings

SIZE = 384
GOAL_MS = 20.0
"""Milliseconds of one check-and-insert, embedding not counted, at the 95th percentile."""
SERVER_SECONDS = 60.0
BOTH = "query and insert"


class SphereEmbedder:
    """A unit vector for each text, made from its hash: families that differ, at no cost."""

    name = "sphere"

    def __init__(self) -> None:
        self._known: dict[str, Vector] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> Vector:
        if text not in self._known:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            row = np.random.default_rng(seed).standard_normal(SIZE, dtype=np.float32)
            self._known[text] = row / np.float32(np.linalg.norm(row))
        return self._known[text]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--families", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--checks", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few families")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.families, options.checks = [50, 200], 20
    report = measure(options.families, options.checks)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(sizes: Sequence[int], checks: int) -> dict[str, Any]:
    rows = [row for size in sizes for row in timed("in process", size, checks)]
    with chroma_server() as url:
        rows += [row for size in sizes for row in timed("server", size, checks, url)]
    largest = [row for row in rows if row["families"] == max(sizes) and row["step"] == BOTH]
    goals = [
        {
            "name": f"check-and-insert at {row['families']} families, {row['chroma']}, p95",
            "value": row["p95_ms"],
            "unit": "ms",
            "goal": GOAL_MS,
            "met": row["p95_ms"] <= GOAL_MS,
        }
        for row in largest
    ]
    machine = describe_machine()
    return {
        "bench": "novelty",
        "machine": machine,
        "rows": [embedding(), *rows],
        "goals": goals,
    }


def timed(chroma: str, size: int, checks: int, url: str | None = None) -> list[dict[str, Any]]:
    """Rows by step: fill a memory, then check and insert new families, one by one."""
    process, embedder = psutil.Process(), SphereEmbedder()
    new = [family(n) for n in range(size, size + checks)]
    embedder.embed([candidate.novelty_text() for candidate in new])  # has a row of its own
    with tempfile.TemporaryDirectory() as scratch:
        settings = NoveltySettings(chroma_url=url)
        before = process.memory_info().rss
        with NoveltyMemory.open(
            Path(scratch), embedder, settings, run_id=f"{chroma}-{size}".replace(" ", "-")
        ) as memory:
            begun = time.perf_counter()
            memory.reconcile([family(n) for n in range(size)])
            filled = time.perf_counter() - begun
            queries, insertions = Stopwatch(), Stopwatch()
            for candidate in new:
                with queries:
                    memory.nearest(candidate, k=3)
                with insertions:
                    memory.add(candidate)
            grown = process.memory_info().rss - before
            disk = sum(f.stat().st_size for f in Path(scratch).rglob("*") if f.is_file())
    place = {"chroma": chroma, "families": size}
    both = {
        **row(BOTH, np.add(queries.wall, insertions.wall), np.add(queries.cpu, insertions.cpu)),
        "fill_s": round(filled, 2),
        "memory_mib": round(grown / 2**20, 1),
        "disk_mib": round(disk / 2**20, 1),
    }
    steps = [
        row("query", queries.wall, queries.cpu),
        row("insert", insertions.wall, insertions.cpu),
    ]
    return [{**place, **step} for step in [*steps, both]]


class Stopwatch:
    """Seconds of each time that its block ran: by the clock, and of our own processor time."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall.append(time.perf_counter() - self._begun[0])
        self.cpu.append(time.process_time() - self._begun[1])


def row(step: str, wall: Any, cpu: Any) -> dict[str, Any]:
    p50, p95 = np.percentile(np.asarray(wall) * 1000, [50, 95])
    return {
        "step": step,
        "p50_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
        "longest_ms": round(float(max(wall)) * 1000, 2),
        "cpu_p50_ms": round(float(np.median(cpu)) * 1000, 2),
    }


def embedding(texts: int = 20) -> dict[str, Any]:
    """What the built-in embedder takes for one family."""
    embedder, watch = minilm(), Stopwatch()
    embedder.embed([family(0).novelty_text()])
    for n in range(texts):
        with watch:
            embedder.embed([family(n).novelty_text()])
    return row("embed", watch.wall, watch.cpu)


def family(number: int) -> Family:
    return Family(
        id=f"g0-a{number}",
        generation=0,
        name=f"Task {number}",
        description=f"Count {number} things in {number + 1} boxes and say what is left.",
        capability="counting",
        difficulty=2,
        code="class TaskFamily: ...",
        code_hash=str(number),
        instructions={"1": f"What is left of {number}?", "2": f"What is left of {number + 1}?"},
        reference_answers={"1": "1", "2": "2"},
        wrong_answers={"1": ["0"], "2": ["0"]},
        kind="novel",
        scientist="benchmark",
    )


@contextmanager
def chroma_server() -> Iterator[str]:
    """The URL of a real `chroma run` in a process of its own."""
    import chromadb

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = shutil.which("chroma", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if command is None:
        raise SystemExit("there is no `chroma` command beside this Python: pip install chromadb")
    with tempfile.TemporaryDirectory() as data:
        server = subprocess.Popen(
            [command, "run", "--path", data, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + SERVER_SECONDS
            while True:
                try:
                    chromadb.HttpClient(host="127.0.0.1", port=port).heartbeat()
                    break
                except ValueError:
                    if time.monotonic() > deadline:
                        raise SystemExit("the Chroma server does not answer") from None
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def table(report: dict[str, Any]) -> str:
    lines = [str(report["machine"])]
    for row in report["rows"]:
        place = f"{row['chroma']}, {row['families']:,} families" if "chroma" in row else "minilm"
        lines.append(
            f"{place:<28} {row['step']:<16} p50 {row['p50_ms']:>7.2f} ms, p95 {row['p95_ms']:>7.2f}"
            f" ms, longest {row['longest_ms']:>7.2f} ms, our CPU p50 {row['cpu_p50_ms']:>6.2f} ms"
        )
        if "fill_s" in row:
            lines.append(
                f"{'':<28} filled in {row['fill_s']:.1f} s, {row['memory_mib']:.0f} MiB more "
                f"memory, {row['disk_mib']:.0f} MiB on disk"
            )
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
