"""A graph.db that cannot be read is set aside, whatever is wrong with it, and nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiosqlite
import ormsgpack
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agents.graph import build_graph
from agents.progress import ProgressEvent
from console.run.checkpoints import SERIALIZER, THREAD, open_checkpoints
from memory.errors import StoreError
from tests.console.conftest import Acdc, outcome_of


async def generation_in(file: Path) -> tuple[int | None, list[str]]:
    """The generation of the last checkpoint, None if there is none; and what was said."""
    events: list[ProgressEvent] = []
    async with open_checkpoints(file, events.append) as saver:
        state = await build_graph(saver).aget_state(THREAD)
    return state.values.get("generation"), [event.text for event in events]


async def write(file: Path, generation: int = 3) -> None:
    async with open_checkpoints(file, lambda event: None) as saver:
        await build_graph(saver).aupdate_state(
            THREAD, {"generation": generation}, as_node="merging"
        )


def rows_of(file: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute(f"SELECT checkpoint_id FROM {table}")]


async def test_only_the_last_checkpoint_is_kept_and_the_file_does_not_grow(tmp_path: Path) -> None:
    file = tmp_path / "graph.db"
    sizes: list[int] = []
    async with open_checkpoints(file, lambda event: None) as saver:
        graph = build_graph(saver)
        for number in range(60):
            place = await graph.aupdate_state(THREAD, {"generation": number}, as_node="merging")
            await saver.aput_writes(place, [("generation", number)], f"task {number}")
            if number % 20 == 19:
                await saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                sizes.append(file.stat().st_size)
        state = await graph.aget_state(THREAD)
    assert state.values["generation"] == 59
    assert rows_of(file, "checkpoints") == [place["configurable"]["checkpoint_id"]]
    assert set(rows_of(file, "writes")) == set(rows_of(file, "checkpoints"))
    assert sizes[-1] == sizes[0]


async def test_what_earlier_versions_kept_is_removed_with_the_next_step(tmp_path: Path) -> None:
    file = tmp_path / "graph.db"
    async with aiosqlite.connect(file) as connection:
        graph = build_graph(AsyncSqliteSaver(connection, serde=SERIALIZER))
        for number in range(5):
            await graph.aupdate_state(THREAD, {"generation": number}, as_node="merging")
    assert len(rows_of(file, "checkpoints")) == 5
    assert await generation_in(file) == (4, [])
    await write(file, 5)
    assert len(rows_of(file, "checkpoints")) == 1
    assert await generation_in(file) == (5, [])


def sql(statement: str, *arguments: object) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(statement, arguments)

    return damage


def overwritten(data: bytes) -> Callable[[Path], None]:
    return lambda file: _write_over(file, data)


def _write_over(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def truncated(share: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(file.stat().st_size * share))


def scrambled(file: Path) -> None:
    """The header is sound, the pages behind it are not."""
    content = file.read_bytes()
    file.write_bytes(content[:100] + random.Random(1).randbytes(len(content) - 100))


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "note").write_text("mine")


def folder_beside(file: Path) -> None:
    file.with_name(f"{file.name}-wal").mkdir()


def of_another_program(file: Path) -> None:
    file.unlink()
    sql("CREATE TABLE notes (text)")(file)


def of_a_program_with_such_tables(file: Path) -> None:
    file.unlink()
    sql("CREATE TABLE checkpoints (level)")(file)
    sql("CREATE TABLE writes (level)")(file)


def packed(value: object) -> bytes:
    return ormsgpack.packb(value)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "garbage": overwritten(b"no database at all" * 100),
    "two bytes": overwritten(b"no"),
    "zeros": overwritten(bytes(8192)),
    "half": truncated(0.5),
    "a header alone": truncated(0.004),
    "scrambled": scrambled,
    "a folder": folder,
    "a folder beside it": folder_beside,
    "of another program": of_another_program,
    "tables of that name": of_a_program_with_such_tables,
    "bytes": sql("UPDATE checkpoints SET checkpoint = ?", random.Random(2).randbytes(50)),
    "nothing": sql("UPDATE checkpoints SET checkpoint = NULL"),
    "another type": sql("UPDATE checkpoints SET type = 'pickle'"),
    "no metadata": sql("UPDATE checkpoints SET metadata = '{'"),
    "a number": sql("UPDATE checkpoints SET checkpoint = ?", packed(3)),
    "an empty object": sql("UPDATE checkpoints SET checkpoint = ?", packed({})),
    "another state": sql(
        "UPDATE checkpoints SET checkpoint = ?",
        packed(
            {
                "v": 4,
                "id": "1f1e9b66-ea1c-61ba-8000-93f4f584fb5b",
                "ts": "2026-01-01T00:00:00+00:00",
                "channel_values": {"generation": "first"},
                "channel_versions": {"generation": "1"},
                "versions_seen": {},
            }
        ),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_cannot_be_read_is_kept_under_another_name(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "graph.db"
    await write(file)
    DAMAGE[damage](file)
    before = _content(tmp_path)
    generation, said = await generation_in(file)
    assert generation is None, "the graph begins at its opening"
    [line] = said
    assert line.startswith(f"{file} ")
    assert "graph.db.damaged-1" in line
    aside = _content(tmp_path, "graph.db.damaged-1")
    kept = {name.replace(".damaged-1", ""): data for name, data in aside.items()}
    assert {name: kept[name] for name in before} == before
    assert await generation_in(file) == (None, []), "once is enough"
    await write(file, 5)
    assert await generation_in(file) == (5, [])


def _content(place: Path, prefix: str = "graph.db") -> dict[str, bytes]:
    """Files by name, but for the index of a log, which SQLite makes anew."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
        and str(path.relative_to(place)).startswith(prefix)
        and not path.name.endswith("-shm")
    }


async def test_a_log_that_was_not_written_back_is_read_and_set_aside_with_its_database(
    tmp_path: Path,
) -> None:
    """As a kill leaves them: what was done last stands in the log alone."""
    live = tmp_path / "live" / "graph.db"
    live.parent.mkdir()
    await write(live, 2)
    places = [tmp_path / name for name in ("sound", "broken")]
    async with open_checkpoints(live, lambda event: None) as saver:
        await build_graph(saver).aupdate_state(THREAD, {"generation": 3}, as_node="merging")
        for place in places:
            place.mkdir()
            for name in ("graph.db", "graph.db-wal"):
                shutil.copy(live.with_name(name), place / name)
    sound, broken = (place / "graph.db" for place in places)
    log = sound.with_name("graph.db-wal").read_bytes()
    assert await generation_in(sound) == (3, [])
    broken.write_bytes(b"garbage" * 5000)
    generation, said = await generation_in(broken)
    assert generation is None, "the log of one database is not read into another"
    assert len(said) == 1
    assert broken.with_name("graph.db.damaged-1-wal").read_bytes() == log


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
async def test_no_checkpoints_are_nothing_to_tell(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "graph.db"
    if content is not None:
        file.write_bytes(content)
    assert await generation_in(file) == (None, [])


async def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "graph.db"
    (tmp_path / "graph.db.damaged-1-wal").write_text("an older log")
    (tmp_path / "graph.db.damaged-2").symlink_to("nowhere")
    for number in (3, 4):
        file.write_bytes(b"garbage %d" % number)
        assert f"graph.db.damaged-{number};" not in (await generation_in(file))[1]
        assert (tmp_path / f"graph.db.damaged-{number}").read_bytes() == b"garbage %d" % number
    assert (tmp_path / "graph.db.damaged-1-wal").read_text() == "an older log"
    assert (tmp_path / "graph.db.damaged-2").is_symlink()


async def test_what_fails_while_the_run_is_at_work_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "graph.db"
    await write(file)

    async def work() -> None:
        async with open_checkpoints(file, lambda event: None) as saver:
            await saver.setup()
            sql("DROP TABLE checkpoints")(file)
            await build_graph(saver).aget_state(THREAD)

    with pytest.raises(StoreError, match=r"graph\.db: no such table"):
        await work()


async def test_a_database_that_another_program_holds_is_not_taken_for_damaged(
    tmp_path: Path,
) -> None:
    file = tmp_path / "graph.db"
    await write(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            await generation_in(file)
    assert await generation_in(file) == (3, [])


ONE_MORE = ("--set", "generations=5")


@pytest.fixture(scope="module")
def whole(acdc: Acdc, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, one generation later, with its checkpoints."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(finished_run, folder)
    acdc("run", folder, *ONE_MORE)
    return folder


def test_a_run_goes_on_without_its_checkpoints(
    acdc: Acdc, finished_run: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "graph.db").write_bytes(b"garbage" * 1000)
    said = acdc("run", run, *ONE_MORE).stdout
    assert "graph.db is damaged; kept as graph.db.damaged-1" in said
    assert (run / "graph.db.damaged-1").read_bytes() == b"garbage" * 1000
    assert outcome_of(run) == outcome_of(whole)


async def test_a_generation_that_is_over_is_not_judged_again_where_checkpoints_lie_behind(
    acdc: Acdc, finished_run: Path, whole: Path, tmp_path: Path
) -> None:
    """As a torn log leaves them, or a copy of an older graph.db beside a newer run.db."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    await write(run / "graph.db", 2)  # the children of generation 2 would be judged next
    acdc("run", run, *ONE_MORE)
    assert outcome_of(run) == outcome_of(whole)
