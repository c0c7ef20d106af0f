"""The novelty memory, over a real Chroma."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from memory.errors import NoveltyError
from memory.novelty.embedding import Vectors, minilm, unit_rows
from memory.novelty.memory import NoveltyMemory
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.similarity import Neighbour
from memory.records import Family
from memory.settings import NoveltySettings
from memory.store import RunStore

MakeFamily = Callable[..., Family]


class WordEmbedder:
    """Hashed bags of words: deterministic, and alike where texts share words."""

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256((self.name + word).encode()).digest()[0] % 64] += 1
        return unit_rows(rows, self.name)


@pytest.fixture
def pool(make_family: MakeFamily) -> list[Family]:
    about = {
        "g0-a00": "Add two numbers and give the sum",
        "g0-a01": "Add three numbers and give the sum",
        "g0-a02": "Spell the word backward letter by letter",
        "g0-a03": "Spell the word backward letter by letter",
        "g0-a04": "Decide whether the statement follows logically",
    }
    return [make_family(id_, name="Task", description=text) for id_, text in about.items()]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[NoveltyMemory]:
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as opened:
        yield opened


def at(url: str) -> NoveltySettings:
    return NoveltySettings(chroma_url=url)


def ids(neighbours: Sequence[Neighbour]) -> list[str]:
    return [neighbour.family_id for neighbour in neighbours]


def test_an_empty_memory_has_no_neighbours(memory: NoveltyMemory, pool: list[Family]) -> None:
    assert memory.nearest(pool[0]) == []
    memory.reconcile([])
    assert len(memory) == 0


def test_the_nearest_are_ranked_with_ties_by_id_and_never_itself(
    memory: NoveltyMemory, pool: list[Family]
) -> None:
    for family in reversed(pool):
        memory.add(family)
        memory.add(family)
    assert len(memory) == 5
    assert ids(memory.nearest(pool[0], k=1)) == ["g0-a01"]
    (twin,) = memory.nearest(pool[2], k=1)
    assert twin.family_id == "g0-a03"
    assert twin.similarity == pytest.approx(1.0)
    stranger = pool[3].model_copy(update={"id": "g9-a00"})
    assert ids(memory.nearest(stranger, k=2)) == ["g0-a02", "g0-a03"]
    assert len(memory.nearest(pool[0], k=9)) == 4


def test_the_ranking_is_exact_in_a_large_pool(
    memory: NoveltyMemory, make_family: MakeFamily
) -> None:
    draws = np.random.default_rng(3)
    words = [f"word{index}" for index in range(200)]
    families = [
        make_family(f"f{index:03d}", description=" ".join(draws.choice(words, 12)))
        for index in range(400)
    ]
    memory.reconcile(families)
    rows = WordEmbedder().embed([family.novelty_text() for family in families]).astype(float)
    for index in (0, 123, 399):
        order = sorted(
            (item for item in range(400) if item != index),
            key=lambda item: (-round(float(rows[item] @ rows[index]), 6), item),
        )
        expected = [f"f{item:03d}" for item in order[:5]]
        assert ids(memory.nearest(families[index], k=5)) == expected


def test_families_that_wait_to_be_stored_are_found_and_ranked_like_the_others(
    tmp_path: Path, make_family: MakeFamily
) -> None:
    draws = np.random.default_rng(5)
    words = [f"word{index}" for index in range(60)]
    families = [
        make_family(f"f{index:03d}", description=" ".join(draws.choice(words, 8)))
        for index in range(230)
    ]
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        for family in families:
            memory.add(family)
        waiting = [memory.nearest(family, k=7) for family in families[::23]]
        memory.add(families[-1].model_copy(update={"description": "no such words at all"}))
        memory.add(families[-1])
        memory.flush()
        assert [memory.nearest(family, k=7) for family in families[::23]] == waiting
        assert len(memory) == 230
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        assert len(memory) == 230, "closing has stored what waited"
        memory.reconcile(families)
        assert [memory.nearest(family, k=7) for family in families[::23]] == waiting


def test_families_that_waited_when_the_run_was_killed_are_made_up_for(
    tmp_path: Path, pool: list[Family]
) -> None:
    killed = NoveltyMemory.open(tmp_path, WordEmbedder())
    killed.add(pool[0])
    killed.close()  # not as a context: what waits is lost, as by a kill
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        assert len(memory) == 0
        memory.reconcile(pool)
        assert ids(memory.nearest(pool[1], k=1)) == ["g0-a00"]


def test_storing_that_fails_at_the_end_of_a_run_does_not_make_it_fail(
    tmp_path: Path, pool: list[Family], caplog: pytest.LogCaptureFixture
) -> None:
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        memory.add(pool[0])
        for file in tmp_path.rglob("chroma.sqlite3"):
            file.write_bytes(b"no database" * 1000)
    assert "1 families were not stored; the next run stores them" in caplog.text
    assert "delete that folder" in caplog.text


def test_the_memory_is_found_again_and_only_what_is_missing_is_embedded(
    tmp_path: Path, pool: list[Family], caplog: pytest.LogCaptureFixture
) -> None:
    with RunStore.open(tmp_path) as store:
        recorded = RecordedEmbedder(WordEmbedder(), store)
        with NoveltyMemory.open(tmp_path, recorded) as memory:
            memory.reconcile(pool[:3])
            before = memory.nearest(pool[0])
        embedder = WordEmbedder()
        with NoveltyMemory.open(tmp_path, RecordedEmbedder(embedder, store)) as memory:
            assert memory.nearest(pool[0]) == before
            memory.reconcile(pool)
            assert embedder.embedded == [pool[4].novelty_text()], "the fourth is the third's twin"
            memory.reconcile(pool)
            assert len(memory) == 5
    assert caplog.text == "", "nothing was built anew"


def test_what_run_db_does_not_know_or_knows_otherwise_is_put_right(
    memory: NoveltyMemory, pool: list[Family]
) -> None:
    memory.reconcile(pool)
    changed = pool[4].model_copy(update={"description": "Add two numbers and give the sum"})
    memory.reconcile([*pool[:2], changed])
    assert len(memory) == 3
    assert ids(memory.nearest(pool[0])) == ["g0-a04", "g0-a01"]


def test_another_embedder_starts_from_an_empty_memory(tmp_path: Path, pool: list[Family]) -> None:
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        memory.reconcile(pool)
    with NoveltyMemory.open(tmp_path, WordEmbedder("other")) as memory:
        assert len(memory) == 0
        memory.reconcile(pool)
        assert memory.nearest(pool[2], k=1)[0].similarity == pytest.approx(1.0)


def test_a_family_that_is_looked_up_and_added_is_embedded_once(
    tmp_path: Path, pool: list[Family]
) -> None:
    embedder = WordEmbedder()
    with NoveltyMemory.open(tmp_path, embedder) as memory:
        memory.nearest(pool[0])
        memory.add(pool[0])
    assert len(embedder.embedded) == 1


def test_no_absolute_path_is_stored(tmp_path: Path, pool: list[Family]) -> None:
    with NoveltyMemory.open(tmp_path, WordEmbedder()) as memory:
        memory.reconcile(pool)
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or str(tmp_path).encode() not in file.read_bytes()


def test_a_place_that_is_no_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("no folder")
    with pytest.raises(NoveltyError, match="delete that folder; it is rebuilt"):
        NoveltyMemory.open(tmp_path, WordEmbedder())


def test_a_server_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoveltyError, match="start that Chroma server, or remove"):
        NoveltyMemory.open(tmp_path, WordEmbedder(), at("http://127.0.0.1:9"), run_id="one")
    with pytest.raises(NoveltyError, match="is not a URL"):
        NoveltyMemory.open(tmp_path, WordEmbedder(), at("localhost:8000"), run_id="one")
    with pytest.raises(ValueError, match="needs the run's id"):
        NoveltyMemory.open(tmp_path, WordEmbedder(), at("http://127.0.0.1:9"))


@contextmanager
def chroma_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real server and its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = str(Path(sys.executable).parent / "chroma")
    arguments = [command, "run", "--path", str(folder), "--port", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/api/v2/heartbeat").raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield url, server
    finally:
        server.kill()
        server.wait()


def test_a_full_disk_is_not_taken_for_a_damaged_folder(
    tmp_path: Path, make_family: MakeFamily
) -> None:
    small = ["mount", "-t", "tmpfs", "-o", "size=1m", "acdc", str(tmp_path)]
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    families = [
        make_family(f"f{index:03d}", description=f"{index} " * 2000) for index in range(200)
    ]
    try:
        with (
            pytest.raises(NoveltyError, match=r"free some space and run the same command again$"),
            NoveltyMemory.open(tmp_path, WordEmbedder()) as memory,
        ):
            memory.reconcile(families)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
def test_a_chroma_server_keeps_several_runs_apart_and_may_fail(
    tmp_path: Path,
    pool: list[Family],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with chroma_server(tmp_path / "served") as (url, server):
        one = NoveltyMemory.open(tmp_path, WordEmbedder(), at(url), run_id="one")
        one.reconcile(pool)
        two = NoveltyMemory.open(tmp_path, WordEmbedder(), at(url), run_id="two")
        two.reconcile(pool[:1])
        assert (len(one), len(two)) == (5, 1)
        assert ids(one.nearest(pool[0], k=1)) == ["g0-a01"]
        assert not (tmp_path / "memory").exists()
        os.kill(server.pid, signal.SIGSTOP)  # it takes requests, and never answers
        monkeypatch.setattr("memory.novelty.memory.SERVER_SECONDS", 0.5)
        with pytest.raises(NoveltyError, match=r"timed out.*start that Chroma server"):
            NoveltyMemory.open(tmp_path, WordEmbedder(), at(url), run_id="one")
        os.kill(server.pid, signal.SIGCONT)
        impatient = NoveltyMemory.open(tmp_path, WordEmbedder(), at(url), run_id="one")
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(NoveltyError, match=r"timed out.*start that Chroma server"):
            impatient.nearest(pool[0])
        server.kill()
        server.wait()
        with pytest.raises(NoveltyError, match="start that Chroma server"):
            one.nearest(pool[0])
        with two:
            two.add(pool[1])
        assert "1 families were not stored" in caplog.text


@pytest.mark.slow
def test_a_server_that_lost_its_index_is_given_the_families_again(
    tmp_path: Path, make_family: MakeFamily, caplog: pytest.LogCaptureFixture
) -> None:
    families = [make_family(f"f{index:04d}", description=f"no {index}") for index in range(1100)]
    with RunStore.open(tmp_path) as store:
        embedder = RecordedEmbedder(WordEmbedder(), store)
        for damaged in (False, True, False):
            if damaged:
                for index in filter(Path.is_dir, (tmp_path / "served").iterdir()):
                    shutil.rmtree(index)
            with (
                chroma_server(tmp_path / "served") as (url, _),
                NoveltyMemory.open(tmp_path, embedder, at(url), run_id="one") as memory,
            ):
                memory.reconcile(families)
                for family in families[::50]:
                    stranger = family.model_copy(update={"id": "again"})
                    assert memory.nearest(stranger, k=1)[0].similarity == 1.0
            assert ("built anew" in caplog.text) is damaged
            caplog.clear()


@pytest.mark.slow
def test_the_built_in_model_finds_a_reworded_family(tmp_path: Path, pool: list[Family]) -> None:
    with NoveltyMemory.open(tmp_path, minilm()) as memory:
        memory.reconcile(pool)
        reworded = pool[2].model_copy(
            update={"id": "new", "description": "Write the letters of a word in reverse order"}
        )
        assert ids(memory.nearest(reworded, k=2)) == ["g0-a02", "g0-a03"]
        assert 0.7 < memory.nearest(reworded, k=1)[0].similarity < 0.99
