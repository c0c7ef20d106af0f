"""Chroma's folder, damaged in every way: what run.db holds is found again, and a line says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.novelty.embedding import Vectors
from memory.novelty.memory import NoveltyMemory
from memory.novelty.recorded import RecordedEmbedder
from memory.novelty.seal import seal
from memory.records import Family
from memory.store import RunStore
from tests.memory.conftest import family_like

COUNT = 1100
"""Above a thousand Chroma writes its index to files, and forgets its log of what is in them."""
FAMILIES = [family_like(f"f{index:04d}", description=f"Number {index}") for index in range(COUNT)]
ROWS = np.random.default_rng(4).standard_normal((COUNT, 24)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
KNOWN = {family.novelty_text(): row for family, row in zip(FAMILIES, ROWS, strict=True)}


class Sphere:
    name = "sphere"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([KNOWN[text] for text in texts])


class Nobody:
    """An embedder that may not be asked any more."""

    name = "sphere"

    def embed(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError(f"{len(texts)} texts are to be embedded again")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose memory was closed as it should be."""
    folder = tmp_path_factory.mktemp("closed")
    with (
        RunStore.open(folder) as store,
        NoveltyMemory.open(folder, RecordedEmbedder(Sphere(), store)) as memory,
    ):
        memory.reconcile(FAMILIES)
    return folder


@pytest.fixture
def folder(closed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(closed, tmp_path / "moved")


def lost(folder: Path) -> list[str]:
    """Families that a run which goes on there does not find, its run.db alone at hand."""
    with (
        RunStore.open(folder) as store,
        NoveltyMemory.open(folder, RecordedEmbedder(Nobody(), store)) as memory,
    ):
        memory.reconcile(FAMILIES)
        assert len(memory) == COUNT
        return [family.id for family in FAMILIES[::20] if not _finds(memory, family)]


def _finds(memory: NoveltyMemory, family: Family) -> bool:
    (found,) = memory.nearest(family.model_copy(update={"id": "again"}), k=1)
    return found == (family.id, 1.0)


def index_of(folder: Path) -> Path:
    (index,) = (path for path in (folder / "memory").iterdir() if path.is_dir())
    return index


Damage = Callable[[Path], object]
INDEX_FILES = [
    "data_level0.bin",
    "header.bin",
    "index_metadata.pickle",
    "length.bin",
    "link_lists.bin",
]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def flipped(file: Path) -> None:
    content = np.frombuffer(file.read_bytes(), np.uint8)
    file.write_bytes((content ^ 0x55).tobytes())


def removed(file: Path) -> None:
    file.unlink()


def test_an_undamaged_folder_is_opened_as_it_is_wherever_it_was_moved(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = index_of(folder)
    for _ in range(2):
        assert lost(folder) == []
    assert index_of(folder) == index
    assert caplog.text == ""


@pytest.mark.parametrize("harm", [cut, emptied, zeroed, flipped, removed])
@pytest.mark.parametrize("name", [*INDEX_FILES, "chroma.sqlite3"])
def test_a_damaged_file_is_not_opened(
    folder: Path, name: str, harm: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder / "memory" if name.endswith("sqlite3") else index_of(folder)
    harm(place / name)
    assert lost(folder) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"the novelty memory {folder / 'memory'} is not as a run left it (it was changed, or "
        "comes from elsewhere, or that run was killed): it is built anew from run.db"
    ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*INDEX_FILES, "chroma.sqlite3"]), st.data())
def test_one_other_bit_is_seen(closed: Path, folder: Path, name: str, data: st.DataObject) -> None:
    shutil.rmtree(folder)
    shutil.copytree(closed, folder)
    place = folder / "memory" if name.endswith("sqlite3") else index_of(folder)
    content = bytearray((place / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (place / name).write_bytes(content)
    before = index_of(folder)
    NoveltyMemory.open(folder, Sphere()).close()
    assert not before.exists()


def served(folder: Path, change: Callable[[Any], object]) -> None:
    """What another program does to the collection, through Chroma itself."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    client: Any = chromadb.PersistentClient(str(folder / "memory"), settings=settings)
    change(client)
    client.close()


def with_strangers(client: Any) -> None:
    collection = client.get_collection("families", embedding_function=None)
    collection.add(ids=["stranger"], embeddings=ROWS[:1], documents=["nobody's"])


def with_other_vectors(client: Any) -> None:
    collection = client.get_collection("families", embedding_function=None)
    collection.update(ids=["f0003", "f0004"], embeddings=ROWS[[4, 3]])


def of_another_size(client: Any) -> None:
    metadata = client.get_collection("families", embedding_function=None).metadata
    client.delete_collection("families")
    made = client.create_collection("families", metadata=metadata, embedding_function=None)
    documents = [family.novelty_text() for family in FAMILIES[:9]]
    ids = [family.id for family in FAMILIES[:9]]
    made.add(ids=ids, embeddings=ROWS[:9, :8], documents=documents)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("change", [with_strangers, with_other_vectors, of_another_size])
def test_entries_that_run_db_does_not_know_are_gone(
    folder: Path, change: Callable[[Any], object], sealed: bool
) -> None:
    served(folder, change)
    if sealed:  # as if it had happened before the run closed its memory
        seal(folder / "memory", b"")
    assert lost(folder) == []


def test_an_index_that_was_lost_before_the_folder_was_closed_is_built_anew(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(index_of(folder))
    seal(folder / "memory", b"")
    assert lost(folder) == []
    assert "does not find what run.db says that it holds: it is built anew" in caplog.text
    caplog.clear()
    assert lost(folder) == []
    assert caplog.text == ""


def test_a_run_that_died_of_its_memory_is_not_killed_by_it_again(folder: Path) -> None:
    memory = NoveltyMemory.open(folder, Sphere())
    assert not (folder / "memory" / "closed.sha256").exists(), "a process that dies leaves no seal"
    memory.close()
    assert (folder / "memory" / "closed.sha256").exists()


def test_a_memory_that_failed_is_not_sealed(folder: Path) -> None:
    with NoveltyMemory.open(folder, Sphere()) as memory:
        memory.reconcile(FAMILIES)
        memory.add(FAMILIES[0].model_copy(update={"id": "new"}))
        (folder / "memory" / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    assert lost(folder) == []


def test_what_another_machine_has_left_is_not_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Native code reads these files; whoever made them could seal them, too."""
    for key in (b"mine", b"mine", b"another"):
        with NoveltyMemory.open(tmp_path, Sphere(), key=key):
            pass
        assert ("comes from elsewhere" in caplog.text) == (key == b"another")
