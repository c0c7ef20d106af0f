"""Faults other than a kill of the run itself, one function each."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

from benchmarks.faults_damage import (
    chroma_sql,
    copied,
    cut,
    cut_each,
    damaged,
    kill_one,
    small_file_system,
)
from benchmarks.faults_lab import Lab, Outcome, compared, difference, ended, left_with, words
from tests.agents.chat.scripted_server import Act, Body, Cut, Fail, Hang, Raw
from tests.console.endpoint_cases import endpoint
from tests.console.moments import has_come, progress_of, wait_until

KILLED = (signal.SIGKILL,)
"""Only a run that was killed leaves a log."""
WORKERS = ("cluster.kind=local", "cluster.workers=2", "cluster.chunk=3")
IMPATIENT = (
    "endpoints.scientist.attempts=4",
    "endpoints.scientist.backoff=0.05",
    "endpoints.scientist.longest_pause=0.2",
    "endpoints.scientist.timeout=3",
)
LIES = (b"{'not': json", b"", b'{"choices": []}', b"<html>busy</html>", b"null")
CLOCK = """
import random, time
draw, jumps = random.Random(0), {"by": 0}
time_ns = time.time_ns

def jumping():
    if draw.random() < 0.02:
        jumps["by"] = draw.choice((-1, 1)) * draw.randrange(10**9 * 86400 * 400)
    return time_ns() + jumps["by"]

time.time_ns = jumping
time.time = lambda: jumping() / 1e9
"""
"""A clock that now and then jumps by up to 400 days, forth or back, for all of a process."""


def workers_killed(lab: Lab) -> Outcome:
    """Processes of a local pool, each in the middle of its work."""
    folder, killed = lab.place / "workers", 0
    process = lab.start(folder, *words(WORKERS))
    for share in (0.2, 0.4, 0.6, 0.8):
        wait_until(process, partial(has_come, folder, share * progress_of(lab.whole)))
        killed += kill_one(process, "evolution.engines.pool.serve", random.Random(killed))
    return ended(lab, "workers_killed", folder, process, f"{killed} workers killed")


def sandbox_killed(lab: Lab) -> Outcome:
    """Guests of the sandbox, while programs of families run in them."""
    folder, killed, draw = lab.place / "sandbox", 0, random.Random(0)
    process = lab.start(folder)
    while process.poll() is None:
        killed += kill_one(process, "guest", draw)
        time.sleep(draw.uniform(0.0, lab.seconds / 20))
    return ended(lab, "sandbox_killed", folder, process, f"{killed} processes of guests killed")


def endpoint_down(lab: Lab) -> Outcome:
    """Every connection is cut from the sixth request on, until the run has ended over it."""
    folder, down = lab.place / "down", threading.Event()

    def mishap(number: int, body: Body) -> Act | None:
        if number == 5:
            down.set()
        return Cut() if down.is_set() else None

    with endpoint(mishap) as server:
        given = words((*IMPATIENT, f'endpoints.scientist.base_url="{server.url}"'))
        process = lab.start(folder, *given)
        code, line = left_with(process)
        down.clear()
        lab.finish(folder, *given)
    return compared(lab, "endpoint_down", folder, line, harm=code != 2)


def endpoint_slow(lab: Lab) -> Outcome:
    """Of eight requests one is not answered in time, and one is asked to wait."""

    def mishap(number: int, body: Body) -> Act | None:
        time.sleep(0.1)
        if number % 8 == 0:
            return Hang()
        slow = Fail(429, "slow down", headers={"Retry-After": "1"})
        return slow if number % 8 == 2 else None

    return with_endpoint(lab, "endpoint_slow", mishap)


def endpoint_lying(lab: Lab) -> Outcome:
    """The first reply to every question is no JSON, or none of a chat."""
    asked = set[str]()

    def mishap(number: int, body: Body) -> Act | None:
        question = json.dumps(body["messages"])
        if question in asked:
            return None
        asked.add(question)
        return Raw(LIES[len(asked) % len(LIES)])

    return with_endpoint(lab, "endpoint_lying", mishap)


def chroma_deleted(lab: Lab) -> Outcome:
    return damaged(lab, "chroma_deleted", lambda run: shutil.rmtree(run / "memory"))


def chroma_truncated(lab: Lab) -> Outcome:
    return damaged(lab, "chroma_truncated", lambda run: cut_each(run / "memory", 0.5))


def chroma_emptied(lab: Lab) -> Outcome:
    return damaged(lab, "chroma_emptied", lambda run: cut_each(run / "memory", 0.0))


def chroma_vectors_lost(lab: Lab) -> Outcome:
    """Identifiers, documents and their count are there, and no vector."""
    return damaged(lab, "chroma_vectors_lost", chroma_sql("DELETE FROM embeddings_queue"))


def chroma_journal_mode(lab: Lab) -> Outcome:
    """Another process lets the database have a log of its own."""
    return damaged(lab, "chroma_journal_mode", chroma_sql("PRAGMA journal_mode = WAL"))


def checkpoint_truncated(lab: Lab) -> Outcome:
    return damaged(lab, "checkpoint_truncated", lambda run: cut(run / "graph.db", 0.5))


def checkpoint_log_torn(lab: Lab) -> Outcome:
    """The log of a run that was killed ends in the middle of a page."""
    return damaged(lab, "checkpoint_log_torn", lambda run: cut(run / "graph.db-wal", 0.6), KILLED)


def checkpoint_log_lost(lab: Lab) -> Outcome:
    return damaged(lab, "checkpoint_log_lost", lambda run: (run / "graph.db-wal").unlink(), KILLED)


def run_locked(lab: Lab) -> Outcome:
    """A second `acdc run` in the same folder, and another program that holds its database."""
    folder = lab.place / "locked"
    process = lab.start(folder)
    wait_until(process, partial(has_come, folder, 0.3 * progress_of(lab.whole)))
    code, line = left_with(lab.start(folder))
    with closing(sqlite3.connect(folder / "run.db", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(3.0)
        other.execute("ROLLBACK")
    found = ended(lab, "run_locked", folder, process, line)
    return Outcome(found.fault, found.found, found.harm or code != 2)


def disk_full(lab: Lab) -> Outcome:
    """A file system that is full at several sizes; between two attempts it grows."""
    whole = sum(file.stat().st_size for file in lab.whole.rglob("*") if file.is_file())
    small, lines = lab.place / "small", []
    with small_file_system(small, whole // 16) as grow:
        if grow is None:
            return Outcome("disk_full", "skipped: only root can mount a small file system")
        folder = small / "run"
        for sixteenth in (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64):
            grow(whole * sixteenth // 16)
            code, line = left_with(lab.start(folder))
            if code == 0:
                break
            lines.append(line)
            if code != 2 or "free some space" not in line:
                return Outcome("disk_full", f"exit code {code}: {line}", harm=True)
        shutil.copytree(folder, lab.place / "full")
    return compared(lab, "disk_full", lab.place / "full", f"full {len(lines)} times")


def clock_jumps(lab: Lab) -> Outcome:
    """The wall clock jumps; deadlines go by another one."""
    folder, patch = lab.place / "clock", lab.place / "patch"
    patch.mkdir(exist_ok=True)
    (patch / "sitecustomize.py").write_text(CLOCK)
    variables = lab.acdc.environment
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "run", folder, "--config", lab.config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**variables, "PYTHONPATH": os.pathsep.join([str(patch), variables["PYTHONPATH"]])},
    )
    return ended(lab, "clock_jumps", folder, process, "jumps of up to 400 days")


def copied_live(lab: Lab) -> Outcome:
    """Copies that are made file by file while the run writes: each goes on, or is refused."""
    folder, copies = lab.place / "live", []
    process = lab.start(folder)
    for number, share in enumerate((0.2, 0.4, 0.6, 0.8)):
        wait_until(process, partial(has_come, folder, share * progress_of(lab.whole)))
        copies.append(lab.place / f"copy-{number}")
        copied(folder, copies[-1])
    found = ended(lab, "copied_live", folder, process, "")
    same = refused = 0
    for copy in copies:
        code, _ = left_with(lab.start(copy))
        if code == 0 and not difference(copy, lab.whole):
            same += 1
            shutil.rmtree(copy)
        elif code == 2:
            refused += 1
    said = f"of {len(copies)} copies {same} go on to the same archive, {refused} are refused"
    return Outcome("copied_live", said, found.harm or same + refused < len(copies))


def with_endpoint(lab: Lab, fault: str, mishap: Callable[[int, Body], Act | None]) -> Outcome:
    """A run with a scientist that misbehaves now and then."""
    folder = lab.place / fault
    with endpoint(mishap) as server:
        url = f'endpoints.scientist.base_url="{server.url}"'
        process = lab.start(folder, *words((*IMPATIENT, url)))
        found = ended(lab, fault, folder, process, "")
    asked = f"{len(server.requests)} requests"
    return Outcome(fault, f"{asked}{found.found}", found.harm)


Case = Callable[[Lab], Outcome]
CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        workers_killed,
        sandbox_killed,
        endpoint_down,
        endpoint_slow,
        endpoint_lying,
        chroma_deleted,
        chroma_truncated,
        chroma_emptied,
        chroma_vectors_lost,
        chroma_journal_mode,
        checkpoint_truncated,
        checkpoint_log_torn,
        checkpoint_log_lost,
        run_locked,
        disk_full,
        clock_jumps,
        copied_live,
    )
}
