"""Opening, locking, migrating and failing clearly."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.errors import AcdcError, RunLockedError, SchemaError, StoreError
from memory.store import RunStore, schema
from memory.store.database import DATABASE
from memory.store.lock import LOCK, process_at_work

Spawn = Callable[[str], "subprocess.Popen[str]"]


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"


def test_a_run_is_found_again_by_its_folder_or_its_database(folder: Path) -> None:
    with RunStore.open(folder) as store:
        store.put_meta("finished", True)
    with RunStore.open(folder / DATABASE) as store:
        assert store.meta("finished") is True


def test_a_run_folder_can_be_moved_and_holds_no_absolute_path(folder: Path, tmp_path: Path) -> None:
    with RunStore.open(folder) as store:
        store.put_genome("g", b"payload")
    for file in folder.rglob("*"):
        assert str(tmp_path).encode() not in file.read_bytes()
    shutil.move(folder, tmp_path / "elsewhere#?%20")
    with RunStore.open(tmp_path / "elsewhere#?%20", read_only=True) as moved:
        assert moved.genome("g") == b"payload"


def test_a_second_writer_is_refused_while_the_first_lives(folder: Path, spawn: Spawn) -> None:
    child = spawn("print('ready')\ntime.sleep(60)")
    ready(child)
    with pytest.raises(RunLockedError, match=f"written by process {child.pid}: wait"):
        RunStore.open(folder)
    child.kill()
    child.wait()
    RunStore.open(folder).close()


def test_a_second_store_of_the_same_process_is_refused(store: RunStore, folder: Path) -> None:
    with pytest.raises(RunLockedError):
        RunStore.open(folder)
    store.put_meta("still", "usable")


def test_the_process_that_writes_is_seen_and_to_look_is_no_lock(folder: Path, spawn: Spawn) -> None:
    assert process_at_work(folder) is None, "there is no folder yet"
    child = spawn("print('ready')\ntime.sleep(60)")
    ready(child)
    assert process_at_work(folder) == child.pid
    child.kill()
    child.wait()
    assert process_at_work(folder) is None, "its number is still in the file"
    with RunStore.open(folder):
        assert process_at_work(folder) == os.getpid()


def test_a_writer_does_not_take_one_that_looks_for_another_writer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(exist_ok=True)
    looking = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr("memory.store.lock.time.sleep", lambda _: os.close(looking))
    with RunStore.open(folder):
        assert process_at_work(folder) == os.getpid()


def test_a_live_run_can_be_read_by_another_process(folder: Path, spawn: Spawn) -> None:
    child = spawn("store.put_meta('n', 1)\nprint('ready')\ntime.sleep(60)")
    ready(child)
    with RunStore.open(folder, read_only=True) as reader:
        assert reader.meta("n") == 1
        with pytest.raises(StoreError, match="opened for reading only"):
            reader.put_meta("n", 2)


def test_a_reader_sees_what_a_killed_writer_committed(folder: Path, spawn: Spawn) -> None:
    child = spawn("store.put_meta('n', 1)\nprint('ready')\ntime.sleep(60)")
    ready(child)
    child.kill()
    child.wait()
    with RunStore.open(folder, read_only=True) as reader:
        assert reader.meta("n") == 1


def test_a_database_with_a_younger_log_is_refused(folder: Path, tmp_path: Path) -> None:
    """As in a copy of a live run, made file by file, when the log was begun anew in between."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with RunStore.open(folder) as store:
        for number in range(40):
            store.put_genome(f"{number:02}", b"1" * 3000)
        store._all("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(folder / DATABASE, copy)
        store._write("DELETE FROM genomes WHERE id > '09'")
        for number in range(40):
            store.put_genome(f"again {number:02}", b"2" * 3000)
        store._all("PRAGMA wal_checkpoint(TRUNCATE)")
        store.put_genome("last", b"3")
        shutil.copy(folder / f"{DATABASE}-wal", copy)
    for _ in range(3):
        with pytest.raises(StoreError, match="does not agree with its log"):
            RunStore.open(copy)


def test_an_empty_log_does_not_keep_a_folder_of_others_from_being_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunStore.open(folder) as store:
        store.put_meta("n", 1)
    (folder / f"{DATABASE}-wal").touch()
    (folder / f"{DATABASE}-shm").unlink(missing_ok=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with RunStore.open(folder, read_only=True) as reader:
        assert reader.meta("n") == 1
    assert not (folder / f"{DATABASE}-shm").exists()


def test_a_copy_that_cannot_be_written_is_read_with_its_log(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with RunStore.open(folder) as store:
        store._all("PRAGMA wal_checkpoint(TRUNCATE)")
        store.put_meta("n", 1)
        for name in (DATABASE, f"{DATABASE}-wal"):
            shutil.copy(folder / name, copy)
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    with sqlite3.connect(f"{(copy / DATABASE).as_uri()}?immutable=1", uri=True) as without_log:
        assert without_log.execute("SELECT * FROM meta WHERE key = 'n'").fetchall() == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    with RunStore.open(copy, read_only=True) as reader:
        assert reader.meta("n") == 1
        with pytest.raises(StoreError):
            reader._write("DELETE FROM meta", ())
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_reading_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"run\.db is missing: .*`acdc run .*from a copy"):
        RunStore.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match="is a file: choose a folder"):
        RunStore.open(file)
    with pytest.raises(StoreError, match="no permission to write there"):
        RunStore.open(file / "below")


def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StoreError, match="no permission to write there"):
        RunStore.open(Path("/proc/no-such-run"))


def test_a_full_disk_is_one_clear_line_and_loses_nothing(store: RunStore) -> None:
    store.put_genome("small", b"1")
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    def breed() -> None:
        with store.once("breed", 1) as due:
            assert due
            store.put_genome("medium", b"2")
            store.put_genome("large", b"3" * 1_000_000)

    with pytest.raises(StoreError, match="the disk is full: free some space"):
        breed()
    assert store._all("SELECT id FROM genomes") == [("small",)]
    assert not store.step_done("breed", 1)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    breed()
    assert store._one("SELECT COUNT(*) FROM genomes") == (3,)


def test_a_newer_schema_is_refused_and_left_alone(folder: Path) -> None:
    RunStore.open(folder).close()
    newer = len(schema.MIGRATIONS) + 1
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(SchemaError, match=f"schema {newer}.*upgrade acdc"):
            RunStore.open(folder, read_only=read_only)
    with pytest.raises(SchemaError):
        RunStore.open(folder)  # the refusal gave the lock back


def test_a_run_that_is_just_being_made_is_read_as_one_that_is_not_written(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        assert (folder / DATABASE).stat().st_size > 0
        with pytest.raises(StoreError, match="has not got as far as writing it"):
            RunStore.open(folder, read_only=True)
        connection.rollback()
    connection.close()


def test_a_new_run_has_all_of_its_schema_or_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE meta (x);"))
        with pytest.raises(StoreError):
            RunStore.open(folder)
    with pytest.raises(StoreError, match="has not got as far as writing it"):
        RunStore.open(folder, read_only=True)


def test_an_older_schema_is_migrated_by_a_writer_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunStore.open(folder) as store:
        store.put_meta("kept", 1)
    two = (*schema.MIGRATIONS, "ALTER TABLE meta ADD COLUMN note TEXT;")
    monkeypatch.setattr(schema, "MIGRATIONS", two)
    monkeypatch.setattr(schema, "OLDEST_READABLE", len(two))
    with pytest.raises(SchemaError, match="to upgrade it"):
        RunStore.open(folder, read_only=True)
    with RunStore.open(folder) as store:
        assert store._one("SELECT value, note FROM meta WHERE key = 'kept'") == ("1", None)
    RunStore.open(folder, read_only=True).close()


def test_a_migration_that_fails_leaves_the_schema_before_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunStore.open(folder).close()
    broken = (*schema.MIGRATIONS, "CREATE TABLE half (x); CREATE TABLE meta (x);")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(StoreError):
            RunStore.open(folder)
    with RunStore.open(folder) as store:
        assert store._all("SELECT name FROM sqlite_master WHERE name = 'half'") == []


@pytest.mark.parametrize("foreign", ["a database of another program", "no database at all"])
def test_what_is_not_a_run_is_refused_and_left_alone(tmp_path: Path, foreign: str) -> None:
    file = tmp_path / DATABASE
    if foreign.startswith("no"):
        file.write_text("something else " * 1000)
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    before = file.read_bytes()
    for read_only in (False, True):
        with pytest.raises(AcdcError, match="choose another folder"):
            RunStore.open(tmp_path, read_only=read_only)
    assert file.read_bytes() == before


def test_closing_twice_is_harmless(folder: Path) -> None:
    store = RunStore.open(folder)
    store.close()
    store.close()


def test_closing_waits_for_what_another_thread_has_begun_to_read(store: RunStore) -> None:
    """A run that is interrupted leaves threads at work; SQLite would read what is freed."""
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000)"
    counted: list[object] = []

    def count() -> None:
        counted.extend(store._all(f"{numbers} SELECT MAX(i) FROM n"))

    thread = threading.Thread(target=count)
    thread.start()
    while store._mutex.acquire(blocking=False):  # until it has begun
        store._mutex.release()
    store.close()
    thread.join()
    assert counted == [(2_000_000,)]
