"""A damaged run.db: commands that read say what is damaged, or answer; nothing is written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import console.app  # noqa: F401  it knows all commands
from console.commands.frame import app, errors, out
from memory.errors import AcdcError, DamagedError
from memory.records import Emission, Emitter, Instance
from memory.store import RunStore
from tests.console.conftest import Acdc, the_line
from tests.console.damage import HARMS, WHOLE, Column, columns, damage, flip_letter


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    with RunStore.open(folder) as store:
        family = store.families()[0].id
        # The families of this run are closed, and draw none.
        drawn = {"period": 0, "name": "1@1.5", "instructions": "How many?", "reference": "5"}
        store.put_instances([Instance.model_validate({"family": family, **drawn})])
        # Nor has it emitters.
        began = {"generation": 1, "columns": (0,), "sigma": 0.3, "weights": {family: 1.0}}
        store.put_emitter(Emitter.model_validate({"id": "e", "parent": "base", **began}))
        store.put_emission(Emission(expert="g1-0", emitter="e", vector=(0.5,), value=0.5))
    connection = sqlite3.connect(folder / "run.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder


def content(folder: Path) -> dict[str, str]:
    """All that lies in a folder; what SQLite's readers share with a writer does not count."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm") and path.stat().st_size
    }


def typed(*words: str | Path) -> tuple[int, str]:
    """Exit code and output of a command, carried out in this process."""
    said = io.StringIO()
    kept = out.file, errors.file
    out.file = errors.file = said
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = app([str(word) for word in words], standalone_mode=False)
    finally:
        out.file, errors.file = kept
    return code or 0, said.getvalue()


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "--json"),
    ("trace",),
    ("trace", "--rejected", "--full"),
    ("trace", "--expert", "g1-0"),
    ("trace", "--role", "critic", "--json"),
)


def texts_in(store: RunStore, table: str, column: str) -> list[str]:
    rows = store._all(f"SELECT {column} FROM {table} WHERE TYPEOF({column}) = 'text'")
    return [row[0] for row in rows]


FACTS = ("finished", "summary", "finals", "bank", "prompts", "run_id")


def readings(store: RunStore) -> Iterator[Callable[[], Any]]:
    """What the public reading functions give."""
    from agents.task_force.field import force_in

    names, families, assignments, genomes = (
        texts_in(store, table, "id") for table in ("experts", "families", "assignments", "genomes")
    )
    keys, grades = (texts_in(store, table, "key") for table in ("answers", "grades"))
    texts = texts_in(store, "embeddings", "text")
    yield from (store.experts, store.families, store.assignments, store.calls, store.events)
    yield from (store.spans, store.ratings, store.all_skills, store.family_events)
    yield from (store.archive_experts, store.phase_seconds, store.call_totals)
    yield from (store.rejection_counts, store.outcomes, store.instances, lambda: force_in(store, 3))
    yield from (store.emitters, store.emissions)
    yield lambda: [store.meta(key) for key in FACTS]
    yield lambda: [store.expert(name) for name in names]
    yield lambda: [store.skills(name) for name in names]
    yield lambda: [store.genome(name) for name in genomes]
    yield lambda: [store.family(name) for name in families]
    yield lambda: [store.family_status(name) for name in families]
    yield lambda: [store.assignment(name) for name in assignments]
    yield lambda: [store.assignment_status(name) for name in assignments]
    yield lambda: [store.drafts(name) for name in assignments]
    yield lambda: store.answers(keys)
    yield lambda: [store.answers_of(name) for name in genomes]
    yield lambda: store.grades(grades)
    yield lambda: [store.archive(number) for number in range(5)]
    yield lambda: store.embeddings("minilm", texts)


def complaints(run: Path) -> list[str]:
    """What reading it raises; anything but an error that users can fix passes through."""
    found = []
    with RunStore.open(run, read_only=True) as store:
        for read in readings(store):
            try:
                read()
            except AcdcError as error:
                found.append(str(error))
    return found


def test_a_whole_run_is_read_without_complaint(run: Path) -> None:
    assert complaints(run) == []


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("table", WHOLE)
def test_a_damaged_record_is_named_by_every_command_that_reads_it(
    run: Path, table: str, harm: Callable[[Any], Any]
) -> None:
    damage(run, Column(table, WHOLE[table]), harm)
    before = content(run)
    said = complaints(run)
    # What numbers a genome or a vector has no JSON tells, and attributes of a span may be any.
    if table not in ("genomes", "embeddings") and (table, harm.__name__) != ("spans", "_renamed"):
        assert said
    assert all(f"run.db is damaged in table {table}, record " in line for line in said)
    for command, *words in COMMANDS:
        code, output = typed(command, run, *words)
        assert code in (0, 2), output
        assert "bug" not in output
        assert "Traceback" not in output
    assert content(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("column", columns(), ids=".".join)
def test_a_damaged_column_never_looks_like_a_bug(run: Path, column: Column) -> None:
    for harmful in (None, "x\x00y", b"\xff", 9):
        harmed = shutil.copytree(run, run.with_name("harmed"))
        with contextlib.suppress(sqlite3.IntegrityError):  # the schema lets nobody write that
            damage(harmed, column, partial(replaced, by=harmful))
            complaints(harmed)
            for command, *words in COMMANDS[1:4]:
                code, output = typed(command, harmed, *words)
                assert code in (0, 2), output
        shutil.rmtree(harmed)


def replaced(value: Any, by: Any) -> Any:
    return by


@pytest.mark.parametrize(
    ("table", "column", "before", "after"),
    [
        ("families", "record", "return", "retvrn"),
        ("messages", "record", "the", "thf"),
        ("experts", "record", '"generation":1', '"generation":2'),
        ("grades", "record", '"passed":true', '"passed":false'),
        ("answers", "record", '"genome_id":"', '"genome_id":"f'),
        ("answers", "genome_id", "", "f"),
        ("calls", "record", '"role":"critic"', '"role":"chooser"'),
        ("families", "status", "retired", "rftired"),
        ("assignments", "status", "accepted", "accfpted"),
    ],
)
def test_a_letter_that_a_hash_or_a_second_copy_tells_wrong_is_found(
    run: Path, table: str, column: str, before: str, after: str
) -> None:
    if before:
        flip_letter(run, table, column, before, after)
    else:
        damage(run, Column(table, column), lambda value: after + value[1:])
    said = complaints(run)
    assert said
    assert all(f"run.db is damaged in table {table}, record " in line for line in said)
    assert all("restore the run folder from a copy" in line for line in said)


def test_edited_code_is_not_run_under_its_old_hash(run: Path) -> None:
    flip_letter(run, "families", "record", "class TaskFamily", "class TaskFamilz")
    with (
        RunStore.open(run, read_only=True) as store,
        pytest.raises(DamagedError, match="its code is not that of its code_hash"),
    ):
        store.families()
    code, output = typed("status", run)
    assert code == 2
    assert "table families, record g0-" in output


def test_a_genome_that_is_not_that_of_its_id_answers_nothing(acdc: Acdc, run: Path) -> None:
    connection = sqlite3.connect(run / "run.db", isolation_level=None)
    for key, payload in connection.execute("SELECT id, payload FROM genomes").fetchall():
        changed = bytearray(payload)
        changed[-3] ^= 0x10
        connection.execute("UPDATE genomes SET payload = ? WHERE id = ?", (changed, key))
    connection.close()
    before = content(run)
    asked: list[list[str | Path]] = [
        ["ask", run, "hi"],
        ["export", run, "base", run.with_name("out")],
    ]
    for words in asked:
        said = the_line(acdc(*words, code=2).stderr)
        assert "run.db is damaged in table genomes, record " in said
        assert "restore the run folder from a copy" in said
    assert content(run) == before


@pytest.mark.parametrize("lost", ["emptied", "removed"])
def test_a_lost_database_is_not_begun_again(
    acdc: Acdc, run: Path, lost: str, tiny_config: Path
) -> None:
    for file in run.glob("run.db*"):
        file.unlink()
    if lost == "emptied":
        (run / "run.db").touch()
    before = {path.name for path in run.iterdir()}
    asked: list[list[str | Path]] = [["status", run], ["trace", run], ["ask", run, "hi"]]
    for words in asked:
        said = the_line(acdc(*words, code=2).stderr)
        assert f"run.db is {'empty' if lost == 'emptied' else 'missing'}" in said
        assert "restore the run folder from a copy" in said
        assert {path.name for path in run.iterdir()} == before
    said = the_line(acdc("run", run, "--config", tiny_config, code=2).stderr)
    assert "is missing or empty, but the run had begun: restore the run folder from a copy" in said
    assert {path.name for path in run.iterdir()} == before


@pytest.mark.parametrize("table", ["experts", "families", "meta", "events", "answers"])
def test_ask_names_a_damaged_record_or_answers(acdc: Acdc, run: Path, table: str) -> None:
    damage(run, Column(table, WHOLE[table]), HARMS[0])
    before = content(run)
    process = acdc.fork("ask", run, "hi")
    _, stderr = process.communicate(timeout=300)
    assert process.returncode in (0, 2), stderr
    if process.returncode:
        assert f"run.db is damaged in table {table}, record " in the_line(stderr)
    assert content(run) == before
