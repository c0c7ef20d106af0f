"""The runs that are looked at, and one of them opened to read: no lock, no write, no engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from console.errors import UsageError
from console.run.folder import RunFolder
from console.stories.names import told_apart
from console.view.ledger import Ledger
from console.view.page import Row, at, quoted
from evolution.genome import Genome
from memory.hashing import text_hash
from memory.records import FIXED
from memory.store import RunStore, schema

_EMPTY_BEFORE_PERIODS = (
    f"CREATE TEMP VIEW skills AS SELECT expert, family, {FIXED} AS period, passed AS passes, "
    "1 AS asked FROM main.skills",
    "CREATE TEMP TABLE instances (family, period, position, name, record)",
    "CREATE TEMP TABLE finals (expert, temperature, family, instance, passes, asked, record)",
)
"""What a run of an earlier version lacks, in a place of this connection's own."""
_EMPTY_BEFORE_EMBEDDINGS = ("CREATE TEMP TABLE embeddings (embedder, text, vector)",)


class Run:
    """A run as one request sees it.

    Args:
        store: open to read.
        source: where it lies, and what is known of it already.
        version: of the run, as it was when the store was opened.
    """

    def __init__(self, store: RunStore, source: Source, version: str) -> None:
        self.store = store
        self.source = source
        self._version = version

    @property
    def name(self) -> str:
        """In URLs."""
        return self.source.name

    def link(self, page: str, name: str) -> str:
        """Address of a page of one thing; "" in a report, whose pages have none."""
        return self.source.base + at(page, name) if self.source.base else ""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of config.json."""
        return self.source.folder.manifest()

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as it is stored."""
        config: dict[str, Any] = self.manifest["config"]
        return config

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """The rows of a query."""
        return self.store.select(sql, parameters)

    def row(self, sql: str, *parameters: Any) -> Row | None:
        """The first row of a query."""
        return next(iter(self.rows(sql, *parameters)), None)

    def value(self, sql: str, *parameters: Any) -> Any:
        """The first value of the first row of a query, None if there is none."""
        found = self.row(sql, *parameters)
        return None if found is None else next(iter(found.values()))

    def kept(self, name: str, make: Callable[[Run], Any]) -> Any:
        """What takes long to read, made anew only when the run has changed; not to be altered."""
        with self.source.making:
            known = self.source.kept.get(name)
            if known is None or known[0] != self._version:
                known = self.source.kept[name] = (self._version, make(self))
            return known[1]

    @cached_property
    def family_names(self) -> dict[str, str]:
        """Id -> what a family is called, in the order in which they were accepted."""
        sql = "SELECT id, json_extract(record, '$.name') AS name FROM families ORDER BY seq"
        names: dict[str, str] = self.kept(
            "names", lambda run: told_apart({row["id"]: row["name"] for row in run.rows(sql)})
        )
        return names

    @cached_property
    def ledger(self) -> Ledger:
        """What each answer cost, up to now."""
        return self.source.ledger_of(self.store)

    def coefficients(self) -> dict[str, list[float]]:
        """Genome -> the mean over blocks of its coefficient of each anchor."""
        known = self.source.coefficients
        for key in (row["id"] for row in self.rows("SELECT id FROM genomes")):
            if key not in known:
                found = Genome.stored_coefficients(key, self.store.genome(key))
                known[key] = found.mean(axis=0).tolist()
        return known


class Source:
    """A run folder under its name in URLs; what never changes in it is read once.

    Args:
        name: in URLs.
        path: of the folder.
        base: address of its first page, with which those of the others begin; "" for none.

    Attributes:
        others: all runs that are looked at, this one included.
    """

    def __init__(self, name: str, path: Path, base: str | None = None) -> None:
        self.name = name
        self.folder = RunFolder(path)
        self.base = f"/runs/{quoted(name)}/" if base is None else base
        self.others: dict[str, Source] = {name: self}
        self.coefficients: dict[str, list[float]] = {}
        self.kept: dict[str, tuple[str, Any]] = {}
        self.making = threading.RLock()
        self._ledger = Ledger.empty()
        self._mutex = threading.Lock()

    @contextmanager
    def open(self) -> Iterator[Run]:
        """The run, for one request.

        Raises:
            AcdcError: it cannot be read.
        """
        version = self.version()
        with RunStore.open(self.folder.path, read_only=True) as store:
            for statement in _lacking(store):
                store.select(statement)
            # One transaction, so that the numbers of a page are of one moment.
            store.select("BEGIN")
            yield Run(store, self, version)

    def version(self) -> str:
        """Changes when the run does."""
        database = self.folder.database
        files = [database, database.with_name(f"{database.name}-wal"), self.folder.config_file]
        stats = [file.stat() for file in files if file.exists()]
        return "-".join(f"{stat.st_mtime_ns:x}.{stat.st_size:x}" for stat in stats)

    def ledger_of(self, store: RunStore) -> Ledger:
        """The ledger, with what was answered since it was last asked for."""
        with self._mutex:
            self._ledger = self._ledger.extended(store)
            return self._ledger


def _lacking(store: RunStore) -> Iterator[str]:
    if store.schema_version < schema.WITH_PERIODS:
        yield from _EMPTY_BEFORE_PERIODS
    if store.schema_version < schema.WITH_EMBEDDINGS:
        yield from _EMPTY_BEFORE_EMBEDDINGS


def find_runs(folders: Sequence[Path]) -> list[Source]:
    """The runs that some folders are, or hold.

    Raises:
        UsageError: one of them is no run and holds none.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        inside = [folder] if RunFolder(folder).exists() else _runs_in(folder)
        if not inside:
            # Says what is wrong with it, if it is a run at all.
            RunFolder(folder).manifest()
        for path in inside:
            found.setdefault(path.resolve(), path)
    for path in found.values():
        RunFolder(path).manifest()
    names = _told_apart(found)
    sources = [Source(names[place], path) for place, path in found.items()]
    together = {source.name: source for source in sources}
    for source in sources:
        source.others = together
    return sources


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    return sorted(each for each in folder.iterdir() if RunFolder(each).exists())


def _told_apart(paths: Iterable[Path]) -> dict[Path, str]:
    """Names in URLs, in whatever order: of folders that are called alike, with parents in front.

    Args:
        paths: absolute, each of them once.
    """
    parts = {path: path.relative_to(path.anchor).parts or ("run",) for path in paths}
    shown = dict.fromkeys(parts, 1)
    while True:
        names = {path: "~".join(each[-shown[path] :]) for path, each in parts.items()}
        often = Counter(names.values())
        longer = [
            path for path in parts if often[names[path]] > 1 and shown[path] < len(parts[path])
        ]
        if not longer:
            # Whole paths can still read alike, where folders have the separator in their names.
            return {
                path: name if often[name] == 1 else f"{name}~{text_hash(str(path))}"
                for path, name in names.items()
            }
        for path in longer:
            shown[path] += 1
