"""Decisions are taken exactly once, whatever kills the process."""

from __future__ import annotations

import asyncio
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.errors import StoreError
from memory.records import ArchiveEntry
from memory.store import RunStore

Spawn = Callable[[str], "subprocess.Popen[str]"]


def wait_for(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == f"{line}\n"


def put_and_fail(store: RunStore) -> None:
    with store.transaction():
        with store.transaction():
            store.put_meta("inner", 1)
        raise ValueError


def test_a_step_is_due_once_per_generation(store: RunStore) -> None:
    taken = []
    for generation in (1, 1, 2, 1):
        with store.once("selection", generation) as due:
            if due:
                taken.append(generation)
    assert taken == [1, 2]


def test_a_step_that_raises_leaves_nothing_and_is_due_again(store: RunStore) -> None:
    def interrupted() -> None:
        with store.once("selection", 1) as due:
            assert due
            store.put_meta("half", 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.meta("half") is None
    with store.once("selection", 1) as due:
        assert due


def test_a_nested_transaction_that_fails_can_be_survived(store: RunStore) -> None:
    with store.transaction():
        store.put_meta("outer", 1)
        with pytest.raises(ValueError):
            put_and_fail(store)
        store.put_meta("after", 1)
    assert [store.meta(key) for key in ("outer", "inner", "after")] == [1, None, 1]


def test_a_transaction_that_fails_takes_its_nested_ones_with_it(store: RunStore) -> None:
    with pytest.raises(ValueError), store.once("breed", 1):
        put_and_fail(store)
    assert not store.step_done("breed", 1)
    assert store.meta("inner") is None


def test_a_kill_in_the_middle_of_a_step_leaves_nothing_of_it(folder: Path, spawn: Spawn) -> None:
    child = spawn(
        "with store.once('selection', 1) as due:\n"
        "    store.put_meta('half', 1)\n"
        "    store.put_genome('g', b'x' * 10_000_000)\n"
        "    print('inside')\n"
        "    time.sleep(60)\n"
    )
    wait_for(child, "inside")
    child.kill()
    child.wait()
    with RunStore.open(folder) as store:
        assert store.meta("half") is None
        assert store._all("SELECT id FROM genomes") == []
        with store.once("selection", 1) as due:
            assert due


def test_a_kill_after_a_step_leaves_all_of_it(folder: Path, spawn: Spawn) -> None:
    child = spawn(
        "with store.once('selection', 1) as due:\n"
        "    store.put_meta('whole', 1)\n"
        "print('outside')\n"
        "time.sleep(60)\n"
    )
    wait_for(child, "outside")
    child.kill()
    child.wait()
    with RunStore.open(folder) as store:
        assert store.meta("whole") == 1
        with store.once("selection", 1) as due:
            assert not due


def test_kills_at_random_moments_never_leave_half_a_decision(folder: Path, spawn: Spawn) -> None:
    draws = random.Random(5)
    for _ in range(4):
        child = spawn(
            "print('ready')\n"
            "for generation in range(100_000):\n"
            "    with store.once('breed', generation) as due:\n"
            "        for index in range(20 if due else 0):\n"
            "            store.put_genome(f'{generation}-{index}', b'x' * 500)\n"
        )
        wait_for(child, "ready")
        time.sleep(draws.uniform(0.02, 0.2))
        child.kill()
        child.wait()
    with RunStore.open(folder) as store:
        written = [row[0].split("-")[0] for row in store._all("SELECT id FROM genomes")]
        done = store._all("SELECT generation FROM steps ORDER BY generation")
    assert done
    assert [row[0] for row in done] == list(range(len(done)))
    assert sorted(map(int, written)) == sorted(row[0] for row in done for _ in range(20))


async def test_a_task_that_writes_inside_the_transaction_of_another_is_stopped(
    store: RunStore,
) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def careless() -> None:
        with store.once("join", 1):
            inside.set()
            await leave.wait()

    task = asyncio.create_task(careless())
    await inside.wait()
    with pytest.raises(RuntimeError, match="awaited inside a transaction"):
        store.put_meta("stray", 1)
    leave.set()
    await task
    store.put_meta("later", 1)


def test_another_thread_waits_for_the_transaction_to_end(store: RunStore) -> None:
    other = threading.Thread(target=store.put_meta, args=("order", "second"))
    with store.transaction():
        other.start()
        time.sleep(0.05)
        store.put_meta("order", "first")
    other.join()
    assert store.meta("order") == "second"


def test_a_reference_to_nothing_is_refused_by_name(store: RunStore) -> None:
    entry = ArchiveEntry(expert="nobody", rank=0, fitness=1.0, novelty=999.0)
    with pytest.raises(StoreError, match=r"nobody.*FOREIGN KEY"):
        store.put_archive(1, [entry])
    assert store.latest_archive() is None
