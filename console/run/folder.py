"""The run folder: where things lie in it, and its config.json."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agents.config import RunConfig
from agents.settings import FinalsSettings
from console import calling
from console.errors import UsageError
from console.run.config import (
    as_tree,
    cache_folder,
    check_resume,
    given_tree,
    over,
    validated,
)
from console.run.permissions import permit, refuse_unpermitted, requests_of
from evolution.bank.settings import ModelSettings
from memory.files import replace_file
from memory.messages import not_written

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "mergekit",
    "langgraph",
    "openai",
    "chromadb",
    "reasoning-gym",
)
OWN_ENTRIES = (
    "config.json",
    "run.db",
    "run.db-wal",
    "run.db-shm",
    "run.db-journal",
    "run.lock",
    "graph.db",
    "graph.db-wal",
    "graph.db-shm",
    "graph.db-journal",
    "memory",
    "tasks",
    "anchors",
)
"""What a run writes in its folder."""
ALLOW_UNSAFE = ("sandbox.allow_unsafe=true",)
"""The override behind `--allow-unsafe-sandbox`."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk. All paths are derived from `path`, so a run may be moved."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved configuration, versions and content hashes."""
        return self.path / "config.json"

    @property
    def database(self) -> Path:
        """run.db, the truth."""
        return self.path / "run.db"

    @property
    def checkpoints(self) -> Path:
        """graph.db, LangGraph's checkpoints."""
        return self.path / "graph.db"

    @property
    def memory(self) -> Path:
        """Chroma's folder."""
        return self.path / "memory"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config_file.is_file()

    def manifest(self) -> dict[str, Any]:
        """The content of config.json.

        Raises:
            UsageError: there is no run here, or its config.json is damaged.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.config_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"{self.path} is not a run folder (no config.json); start a run with: "
                f"{calling.line('run', self.path)}"
            ) from None
        except OSError as error:
            raise UsageError(f"{self.config_file} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.config_file} is damaged: {error}") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
            raise UsageError(f"{self.config_file} is damaged: it holds no configuration")
        for name, section in manifest["config"].items():
            default = RunConfig.model_fields.get(name)
            if default and isinstance(default.default, BaseModel) and not isinstance(section, dict):
                raise UsageError(f"{self.config_file} is damaged: {name} is no section")
        return manifest

    def config(self, *, unsafe: bool = False) -> RunConfig:
        """The run's own configuration.

        Args:
            unsafe: whether code that an LLM wrote may run without isolation; no run keeps that.

        Raises:
            UsageError: there is no run, or it asks for what was not permitted on this machine.
            ConfigError: its configuration is bad.
        """
        return self.wanted(None, ALLOW_UNSAFE if unsafe else ())

    def finals(self) -> FinalsSettings:
        """How large the run's own finals are; needs no permission, for nothing is done by it.

        Raises:
            UsageError: there is no run.
            ConfigError: its configuration is bad.
        """
        stored = _as_begun(self.manifest()["config"])
        return validated({"finals": stored.get("finals", {})}, ()).finals

    def begin(self, file: Path | None, overrides: tuple[str, ...]) -> RunConfig:
        """Create the folder with its configuration, or check that of a run that goes on.

        A run that exists is left as it is until `keep` is called.

        Raises:
            ConfigError: bad configuration, or one that does not fit the run.
            UsageError: the path is a file, or cannot be written.
            EngineError: the engine is not installed.
        """
        return self.begin_as(self.wanted(file, overrides))

    def wanted(
        self,
        file: Path | None,
        overrides: tuple[str, ...],
        settings: Mapping[str, Any] | None = None,
    ) -> RunConfig:
        """The configuration that a command asks for, on the ground of the run's if it exists.

        Raises:
            ConfigError: bad configuration.
            NotPermittedError: the run asks for what was not permitted on this machine.
        """
        given = given_tree(file, overrides, settings)
        if not self.exists():
            return validated(given, overrides)
        stored = _as_begun(self.manifest()["config"])
        # A file stands for the whole configuration, and is the user's own.
        tree = given if file is not None else over(stored, given)
        refuse_unpermitted(self.path, stored, tree, given)
        return validated(tree, overrides)

    def begin_as(self, config: RunConfig) -> RunConfig:
        """As `begin`, with a configuration that is resolved already.

        Raises:
            ConfigError: it does not fit the run that is there.
            UsageError: the path is a file, or cannot be written.
            EngineError: the engine is not installed.
        """
        permit(requests_of(as_tree(config)))
        if self.exists():
            stored = _as_begun(self.manifest()["config"])
            config = _settled(config, stored)
            check_resume(config, stored, self.path)
            return config
        config = _settled(config, {})
        self._create()
        self.write_manifest(
            {"config": _stored(config), "versions": versions(), "git_commit": git_commit()}
        )
        return config

    def refuse_links(self) -> None:
        """Refuse to write where an entry of the run leads out of its folder, or is no plain file.

        A run may come from somebody else, who chose what its entries are.

        Raises:
            UsageError: names the entry.
        """
        home = self.path.resolve()
        for entry in (self.path / name for name in OWN_ENTRIES):
            inside = entry.rglob("*") if entry.is_dir() else ()
            for path in (entry, *inside):
                if path.is_symlink() and not path.resolve().is_relative_to(home):
                    raise UsageError(f"{path} is a link out of the run folder; nothing was written")
                if path.name.endswith("-journal") and _names_another_file(path):
                    raise UsageError(f"{path} names other files to delete; nothing was written")
                if path.exists() and not (path.is_dir() or path.is_file()):
                    raise UsageError(f"{path} is neither a file nor a folder; nothing was written")

    def refuse_lost_database(self) -> None:
        """Refuse to go on without the truth: where there are checkpoints, there was a run.db.

        Raises:
            UsageError: it is missing or empty, and a new one would begin the run again.
        """
        lost = not self.database.is_file() or self.database.stat().st_size == 0
        if lost and self.checkpoints.is_file() and self.checkpoints.stat().st_size > 0:
            raise UsageError(
                f"{self.database} is missing or empty, but the run had begun: restore the run "
                "folder from a copy, or begin anew in another folder; nothing was written"
            )

    def keep(self, config: RunConfig) -> None:
        """Store what a run that goes on was given anew; to be called by who holds its lock."""
        manifest = self.manifest()
        if manifest["config"] != _stored(config):
            self.write_manifest({**manifest, "config": _stored(config)})

    def _create(self) -> None:
        if self.path.is_file():
            raise UsageError(f"{self.path} is a file; a run needs a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            occupied = any(self.path.iterdir())
        except OSError as error:
            raise UsageError(f"{self.path} cannot be used: {error.strerror}") from None
        if occupied:
            raise UsageError(
                f"{self.path} is not empty and is not a run folder; choose another one"
            )

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace config.json as a whole or not at all."""
        try:
            replace_file(self.config_file, json.dumps(manifest, indent=2) + "\n")
        except OSError as error:
            raise UsageError(not_written(self.config_file, error)) from None


JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
"""What a journal of SQLite ends with that names a super-journal, which is deleted with it."""


def _names_another_file(journal: Path) -> bool:
    """Whether a journal belongs to a transaction over several databases; none of ours does."""
    if not journal.is_file():
        return False
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(JOURNAL_END)))
        return file.read() == JOURNAL_END


def _settled(config: RunConfig, stored: Mapping[str, Any]) -> RunConfig:
    """With the engine decided: `auto`, and no `threads`, mean what a run was begun with.

    A run that is begun takes what suits this machine.

    Raises:
        EngineError: the engine is not installed, or its device is not there.
    """
    begun_with = stored.get("engine", {})
    open_values = {"kind": "auto", "compute": "auto", "threads": None}
    undecided = [name for name, it in open_values.items() if getattr(config.engine, name) == it]
    update = {name: begun_with[name] for name in undecided if name in begun_with}
    engine = config.engine.model_copy(update=update)
    if engine.kind != begun_with.get("kind"):
        # A run that goes on is asked for its engine when it is opened: a finished one needs none.
        engine = engine.settled()
    if engine.threads is None and not begun_with and config.cluster.kind != "none":
        from evolution.engines.pool.local import threads_of_worker

        # Once for all: replies may depend on it, and must not on how many workers there are.
        threads = threads_of_worker(engine, config.cluster)
        engine = engine.model_copy(update={"threads": threads})
    # Actors of Ray may run on other processors than this one, and decide there.
    if engine.compute == "auto" and config.cluster.kind != "ray":
        # Only now: it loads PyTorch.
        from evolution.engines.compute import choose_compute

        chosen = choose_compute(engine, config.models.dtype, cache_folder())
        engine = engine.model_copy(update={"compute": chosen.dtype})
    return config.model_copy(update={"engine": engine})


def _as_begun(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run, which may be older than `engine.compute`.

    Permission to run code that is not isolated is given on this machine, never by a folder.
    """
    weights = stored.get("models", {}).get("dtype", ModelSettings().dtype)
    return {
        **stored,
        "engine": {"compute": weights, **stored.get("engine", {})},
        "sandbox": {**stored.get("sandbox", {}), "allow_unsafe": False},
    }


def _stored(config: RunConfig) -> dict[str, Any]:
    """The configuration as it is kept, without permission to run code that is not isolated."""
    tree = as_tree(config)
    return {**tree, "sandbox": {**tree["sandbox"], "allow_unsafe": False}}


def versions() -> dict[str, str]:
    """Installed versions of the packages that can change an answer."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def git_commit() -> str | None:
    """The commit of this source tree, None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
