"""What faults are made of: processes killed, files cut, a full disk, a copy of a live run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import psutil

from benchmarks.faults_lab import ENDING_SECONDS, Lab, Outcome, compared, descendants
from tests.console.forked import Process
from tests.console.moments import has_come, progress_of, wait_until


def kill_one(process: Process, part: str, draw: random.Random) -> int:
    """Kill one of the processes of a run whose command line names a part; how many that were."""
    found = [each for each in descendants(process) if part in command_line(each)]
    if not found:
        return 0
    with suppress(psutil.NoSuchProcess):
        draw.choice(found).kill()
    return 1


def command_line(process: psutil.Process) -> str:
    """Of a process that may be gone: then nothing."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def damaged(
    lab: Lab,
    fault: str,
    damage: Callable[[Path], object],
    after: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGINT),
) -> Outcome:
    """Damage what runs have left that were ended by these signals, and go on with them."""
    found = []
    for number in after:
        folder = lab.place / f"{fault}-{number.name}"
        shutil.copytree(half_run(lab, number), folder)
        damage(folder)
        found.append(compared(lab, fault, folder, f"after {number.name}: the run goes on"))
    said = "; ".join(each.found for each in found)
    return Outcome(fault, said, any(each.harm for each in found))


@cache
def half_run(lab: Lab, number: signal.Signals) -> Path:
    """A run that was ended half way by a signal."""
    folder = lab.place / f"half-{number.name}"
    process = lab.start(folder)
    wait_until(process, partial(has_come, folder, 0.5 * progress_of(lab.whole)))
    process.send_signal(number)
    process.communicate(timeout=ENDING_SECONDS)
    return folder


def cut_each(folder: Path, share: float) -> None:
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".sha256":  # the seal stays, and is broken
            cut(file, share)


def cut(file: Path, share: float) -> None:
    """Leave a share of a file, which ends in the middle of something."""
    os.truncate(file, int(file.stat().st_size * share))


def chroma_sql(sql: str) -> Callable[[Path], None]:
    """What another program does to Chroma's database."""

    def damage(run: Path) -> None:
        with closing(sqlite3.connect(run / "memory" / "chroma.sqlite3")) as database, database:
            database.execute(sql)

    return damage


@contextmanager
def small_file_system(place: Path, size: int) -> Iterator[Callable[[int], None] | None]:
    """A file system in memory, and what makes it larger, in bytes; None if it cannot be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "acdc", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return

    def grow(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(place)], check=True)


def copied(folder: Path, copy: Path) -> None:
    """Copy file by file what goes on changing, as `cp -r` does."""
    for file in sorted(folder.rglob("*")):
        target = copy / file.relative_to(folder)
        with suppress(FileNotFoundError):  # a draft that was there a moment ago
            if file.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
