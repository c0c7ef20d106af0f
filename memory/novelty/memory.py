"""The novelty memory: which families are like this one? Kept in Chroma, owned by `run.db`.

Chroma holds one collection of the embeddings of all families that were ever accepted. Whenever a
run starts, `reconcile` makes it agree with `run.db`, and has it show that every family is found by
its own vector: what it says that it holds is no proof that it answers. A folder that is not what
was left behind (see `seal`) is not opened but built anew. So a kill between the two, files that
were damaged or deleted and another embedder do no harm. That also lets new families wait: each
write to Chroma ends in a commit to the disk, which takes longer than everything else, so families
are stored many at a time, and those that wait are searched beside Chroma. Only the process that
writes to the run may open it: Chroma's embedded store is not made for several processes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from memory.errors import NoveltyError
from memory.messages import FREE_SPACE
from memory.novelty.embedding import Embedder
from memory.novelty.seal import break_seal, seal
from memory.novelty.similarity import Neighbour, Vector, nearest
from memory.records import Family
from memory.settings import NoveltySettings

log = logging.getLogger(__name__)

FOLDER = "memory"
_EXTRA = 32
"""Candidates that Chroma's approximate search returns beyond those asked for; we rank exactly."""
_INDEX = {"space": "cosine", "ef_construction": 200, "ef_search": 256, "max_neighbors": 32}
_BATCH = 100
_SAME = 1e-5
"""How far two vectors may be apart that are the same: storing scales them to length one again."""
_ASKED = 1000
"""How many stored families are searched for when a memory is opened: to search takes as long as to
build."""
_ROOM = 2**22
"""Bytes that Chroma needs to write anything: below, the disk is full, whatever it says."""
SERVER_SECONDS = 60.0
"""How long a Chroma server may take for one request."""


class NoveltyMemory:
    """Embeddings of families, searched by similarity."""

    def __init__(
        self,
        client: Any,
        collection: str,
        embedder: Embedder,
        place: str,
        sealed: Path | None = None,
        key: bytes = b"",
    ) -> None:
        """Use `open`; this takes a Chroma client.

        Args:
            client: a Chroma client.
            collection: name of the collection, made if it is missing.
            embedder: makes all vectors, stored ones and queries.
            place: where the data are, for messages.
            sealed: the folder that is sealed at the end; None for a server.
            key: to seal it with.
        """
        self._client = client
        self._name = collection
        self._embedder = embedder
        self._place = place
        self._sealed = sealed
        self._key = key
        self._latest: tuple[str, Vector] | None = None
        self._waiting: dict[str, tuple[str, Vector]] = {}
        with self._guard():
            self._collection = self._open_collection()

    @classmethod
    def open(
        cls,
        folder: Path,
        embedder: Embedder,
        settings: NoveltySettings | None = None,
        *,
        run_id: str = "",
        key: bytes = b"",
    ) -> Self:
        """Open the memory of a run.

        Args:
            folder: the run folder; the data go to `memory/` in it.
            embedder: makes all vectors.
            settings: `chroma_url` names a Chroma server that keeps the data instead.
            run_id: keeps the collections of several runs on such a server apart; `store.run_id()`.
            key: a secret of this machine; a folder that was closed with another one is built anew.

        Raises:
            NoveltyError: if Chroma cannot open its data or reach its server.
            ValueError: if a server is named without a `run_id`.
        """
        # Chroma takes a second to import; whoever needs no memory should not wait for it.
        import chromadb
        import httpx
        from chromadb.config import Settings as ChromaSettings

        silent = ChromaSettings(anonymized_telemetry=False)
        url = settings.chroma_url if settings else None
        if url is None:
            data = folder / FOLDER
            place = str(data)
            with _guard(place):
                _drop_what_is_not_as_it_was_left(data, key)
                client = chromadb.PersistentClient(path=place, settings=silent)
            return cls(client, "families", embedder, place, data, key)
        if not run_id:
            # Two runs in one collection would delete each other's families.
            raise ValueError("a Chroma server needs the run's id")
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or address.hostname is None:
            raise NoveltyError(
                f"novelty.chroma_url: {url} is not a URL such as http://localhost:8000"
            )
        secure = address.scheme == "https"
        port = address.port or (443 if secure else 8000)
        with _guard(url):
            # Chroma's own client waits for ever, from its first request on.
            beat = f"{address.scheme}://{address.hostname}:{port}/api/v2/heartbeat"
            httpx.get(beat, timeout=SERVER_SECONDS).raise_for_status()
            client = chromadb.HttpClient(
                host=address.hostname, port=port, ssl=secure, settings=silent
            )
            client._server._session.timeout = SERVER_SECONDS  # type: ignore[attr-defined]
        return cls(client, f"families-{run_id}", embedder, url)

    def flush(self) -> None:
        """Store the families that wait."""
        if not self._waiting:
            return
        texts, vectors = zip(*self._waiting.values(), strict=True)
        with self._guard():
            self._collection.upsert(
                ids=list(self._waiting), embeddings=np.stack(vectors), documents=list(texts)
            )
        self._waiting.clear()

    def close(self) -> None:
        """Let go of the data; a memory that was closed cannot be used again."""
        with self._guard():
            self._client.close()
        if self._sealed is not None:
            with suppress(OSError):  # without a seal it is built anew
                seal(self._sealed, self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:  # else what failed may be Chroma; `reconcile` makes up for it
                self._flush_at_last()
        finally:
            self.close()

    def _flush_at_last(self) -> None:
        """Store what waits; what is done already must not fail because of a memory of it."""
        try:
            self.flush()
        except NoveltyError as error:
            log.warning(
                "%d families were not stored; the next run stores them: %s",
                len(self._waiting),
                error,
            )

    def reconcile(self, families: Sequence[Family]) -> None:
        """Make the memory hold these families, as they are, and no others, and find them.

        All of them are embedded: what a run has embedded before comes from run.db.

        Args:
            families: all that `run.db` has ever accepted.
        """
        self.flush()
        texts = {family.id: family.novelty_text() for family in families}
        rows = dict(zip(texts, self._embedder.embed(list(texts.values())), strict=True))
        with self._guard():
            before = self._collection.count()
            kept = self._sound(texts, rows)
            if before and not kept:
                log.warning(
                    "the novelty memory %s does not find what run.db says that it holds: it is "
                    "built anew from run.db",
                    self._place,
                )
                self._client.delete_collection(self._name)
                self._collection = self._open_collection()
            missing = [id_ for id_ in texts if id_ not in kept]
            for start in range(0, len(missing), _BATCH):
                batch = missing[start : start + _BATCH]
                self._collection.upsert(
                    ids=batch,
                    embeddings=np.stack([rows[id_] for id_ in batch]),
                    documents=[texts[id_] for id_ in batch],
                )

    def add(self, family: Family) -> None:
        """Remember a family; adding it again replaces it."""
        text = family.novelty_text()
        self._waiting[family.id] = (text, self._embed(text))
        if len(self._waiting) >= _BATCH:
            self.flush()

    def nearest(self, family: Family, k: int = 3, without: Collection[str] = ()) -> list[Neighbour]:
        """The k most similar families in the memory, never itself; ties by id.

        Args:
            family: what is looked up.
            k: how many are wanted.
            without: ids of families that do not count.

        Chroma's search is approximate; what it finds is ranked here by exact similarity.
        """
        query = self._embed(family.novelty_text())
        with self._guard():
            found = self._collection.query(
                query_embeddings=query[None],
                n_results=k + 1 + len(without) + _EXTRA,
                include=["embeddings"],
            )
        rows = dict(zip(found["ids"][0], found["embeddings"][0], strict=True))
        rows.update({id_: vector for id_, (_, vector) in self._waiting.items()})
        for name in (family.id, *without):
            rows.pop(name, None)
        return nearest(rows, query, k)

    def __len__(self) -> int:
        """How many families are remembered."""
        self.flush()
        with self._guard():
            return int(self._collection.count())

    def _embed(self, text: str) -> Vector:
        # A family is looked up and then added: embed it once.
        if self._latest is None or self._latest[0] != text:
            self._latest = (text, self._embedder.embed([text])[0])
        return self._latest[1]

    def _sound(self, texts: Mapping[str, str], rows: Mapping[str, Vector]) -> set[str]:
        """The families that are stored as they are; none, if one of them is not found."""
        from chromadb.errors import ChromaError

        try:
            stored = self._collection.get(include=["documents", "embeddings"])
            known = dict(zip(stored["ids"], stored["documents"], strict=True))
            stale = [id_ for id_ in known if known[id_] != texts.get(id_)]
            for start in range(0, len(stale), _BATCH):
                self._collection.delete(ids=stale[start : start + _BATCH])
            vectors = dict(zip(stored["ids"], stored["embeddings"], strict=True))
            kept = [id_ for id_ in known if known[id_] == texts.get(id_)]
            found = all(_same(vectors[id_], rows[id_]) for id_ in kept) and self._finds(
                kept[:: 1 + len(kept) // _ASKED], rows
            )
        except ChromaError as error:  # over a damaged index
            log.info("Chroma: %s", error)
            found = False
        return set(kept) if found else set()

    def _finds(self, ids: Sequence[str], rows: Mapping[str, Vector]) -> bool:
        """Whether each family is found by its own vector, be it by the name of a twin."""
        for start in range(0, len(ids), _BATCH):
            asked = np.stack([rows[id_] for id_ in ids[start : start + _BATCH]])
            found = self._collection.query(query_embeddings=asked, n_results=1, include=[])
            for names, own in zip(found["ids"], asked, strict=True):
                if not names or names[0] not in rows or not _same(rows[names[0]], own):
                    return False
        return True

    def _open_collection(self) -> Any:
        """The collection of this embedder; that of another one is made anew, empty."""
        from chromadb.errors import NotFoundError

        # Never let Chroma embed by itself: it would fetch a model of its own.
        try:
            collection = self._client.get_collection(self._name, embedding_function=None)
        except NotFoundError:
            pass
        else:
            if (collection.metadata or {}).get("embedder") == self._embedder.name:
                return collection
            self._client.delete_collection(self._name)
        return self._client.create_collection(
            self._name,
            metadata={"embedder": self._embedder.name},
            configuration={"hnsw": _INDEX},
            embedding_function=None,
        )

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            with _guard(self._place):
                yield
        except NoveltyError:
            self._sealed = None  # what failed may be what is there: it is built anew
            raise


def _same(one: Vector, other: Vector) -> bool:
    return one.shape == other.shape and bool(np.max(np.abs(one - other)) < _SAME)


def _drop_what_is_not_as_it_was_left(data: Path, key: bytes) -> None:
    """Delete a folder that somebody changed, or that a process which was killed left behind."""
    if data.is_dir() and not break_seal(data, key):
        log.warning(
            "the novelty memory %s is not as a run left it (it was changed, or comes from "
            "elsewhere, or that run was killed): it is built anew from run.db",
            data,
        )
        shutil.rmtree(data)


def _is_full(place: str) -> bool:
    """Whether the disk of a folder is full; not of a server's."""
    folder = Path(place)
    return folder.is_dir() and shutil.disk_usage(folder).free < _ROOM


@contextmanager
def _guard(place: str) -> Iterator[None]:
    """Turn what Chroma raises into one clear line."""
    import httpx
    from chromadb.errors import ChromaError

    advice = (
        "start that Chroma server, or remove novelty.chroma_url"
        if "://" in place
        else "delete that folder; it is rebuilt from run.db"
    )
    try:
        yield
    # An unreachable server is a ValueError in Chroma.
    except (ChromaError, httpx.HTTPError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        if _is_full(place):
            advice = FREE_SPACE
        raise NoveltyError(f"the novelty memory {place} failed ({reason}): {advice}") from error
